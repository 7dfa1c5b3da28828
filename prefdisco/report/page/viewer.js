// The pane beside the list: one unit with its conditions side by side, or the figures of the whole selection.

class Viewer {
  // `act`: step(by), open(unit), close(), tab(condition).
  constructor(element, data, act) {
    Object.assign(this, { element, data, act, unfolded: false, shown: null, turn: 0 });
    element.addEventListener("grown", () => mark(element, this.words));
  }

  async show(unit, state, selection) {
    const chosen = columnsOf(this.data, state);
    this.words = wordsOf(state.q);
    if (!unit) return this.summary(state, selection, chosen);
    const played = chosen.filter((name) => unit.scores[name]);
    const columns = played.length ? played : Object.keys(unit.scores); // a link may open what the filters leave out
    const wanted = JSON.stringify([unit.number, columns, this.words]);
    if (wanted !== this.shown) {
      const turn = ++this.turn;
      const texts = await textsOf(unit);
      if (turn !== this.turn) return; // another one was asked for meanwhile
      const same = this.unit === unit;
      Object.assign(this, { shown: wanted, unit });
      this.element.replaceChildren(...this.content(unit, texts, columns));
      if (!same) this.element.scrollTop = 0;
      this.fold();
      mark(this.element, this.words);
    }
    this.place(unit, selection);
    this.tab(columns.includes(state.tab) ? state.tab : columns.includes("discovery") ? "discovery" : columns[0]);
  }

  content(unit, texts, columns) {
    const { scenario } = texts;
    const others = this.data.runs.map((run) => this.data.find(run, unit.scenario, unit.seed)).filter(Boolean);
    const body = h("div", { class: "columns" }, columns.map((name) => column(name, unit, texts.episodes[name], this.data, this.words)));
    body.style.setProperty("--columns", columns.length);
    return [
      this.bar(),
      h("header", { class: "unit" },
        h("h2", {}, word(unit.scenario)),
        h("p", { class: "where" }, [unit.task, unit.domain, unit.family, `seed ${unit.seed}`].filter(Boolean).map((text) => h("span", {}, word(text))),
          others.length > 1
            ? h("span", { class: "runs", role: "group", "aria-label": "Runs that played this scenario" }, others.map((other) => this.run(other, unit)))
            : h("span", {}, word(unit.run)))),
      h("div", { class: "brief" },
        h("section", {}, h("h3", {}, "Task"), prose(texts.problem || "–", this.words),
          scenario?.options.length ? h("ol", { class: "options" }, scenario.options.map((option) => h("li", {}, word(option)))) : null,
          scenario ? h("p", { class: "gold" }, "right answer: ", word(scenario.answer)) : null),
        scenario ? h("section", {}, h("h3", {}, "Person"), h("p", {}, h("b", {}, word(scenario.name))), prose(scenario.description, this.words)) : null),
      h("div", { class: "tabs", role: "tablist", "aria-label": "Condition" }, columns.map((name) => h("button",
        { type: "button", role: "tab", "data-condition": name, onclick: () => this.act.tab(name) }, word(name)))),
      profile(unit, texts, columns, this.words) ?? h("p", { class: "none" }, "No profile is stored with these episodes."),
      body,
    ];
  }

  run(other, unit) {
    const here = other === unit;
    return h("button", { type: "button", class: "run", "aria-pressed": String(here), onclick: () => here || this.act.open(other) }, word(other.run));
  }

  // Where the unit stands in the selection, and the ways on.
  bar() {
    return h("div", { class: "steps" },
      h("button", { type: "button", class: "back", onclick: () => this.act.close() }, "← List"),
      h("button", { type: "button", class: "step", "aria-label": "Previous scenario", title: "Previous (k)", onclick: () => this.act.step(-1) }, "↑"),
      h("button", { type: "button", class: "step", "aria-label": "Next scenario", title: "Next (j)", onclick: () => this.act.step(1) }, "↓"),
      h("span", { class: "position" }),
      h("button", { type: "button", class: "plain unfold", title: "Unfold or fold (t)", onclick: () => this.toggle() }, "Unfold thinking"));
  }

  place(unit, selection) {
    const at = selection.indexOf(unit);
    const text = at < 0 ? "not in this selection" : `${(at + 1).toLocaleString("en")} of ${selection.length.toLocaleString("en")}`;
    this.element.querySelector(".position").textContent = text;
  }

  toggle() {
    this.unfolded = !this.unfolded;
    this.fold();
  }

  fold() {
    for (const thinking of this.element.querySelectorAll(".thinking")) thinking.open = this.unfolded;
    const button = this.element.querySelector(".unfold");
    if (button) button.textContent = this.unfolded ? "Fold thinking" : "Unfold thinking";
  }

  // Where only one column fits, the one of the chosen tab is shown.
  tab(condition) {
    for (const each of this.element.querySelectorAll("[data-condition]")) {
      each.classList.toggle("chosen", each.dataset.condition === condition);
      if (each.getAttribute("role") === "tab") each.setAttribute("aria-selected", String(each.dataset.condition === condition));
    }
  }

  summary(state, selection, columns) {
    this.turn++;
    Object.assign(this, { shown: null, unit: null });
    const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)}%`);
    const rows = columns.map((name) => [name, means(selection, name)]).map(([name, found]) =>
      h("tr", {}, h("th", { scope: "row" }, word(name)),
        [found.episodes.toLocaleString("en"), percent(found.right), figure(found.alignment), figure(found.questions),
          name === "baseline" ? "–" : percent(found.harmed)].map((cell) => h("td", {}, cell))));
    this.element.replaceChildren(h("div", { class: "summary" },
      h("h2", {}, selection.length === this.data.units.length ? "All scenarios" : "This selection"),
      state.scenario ? h("p", { class: "missing" }, "This report does not have ", word(`${state.scenario}, seed ${state.seed}, of ${state.in}`), ".") : null,
      h("table", {}, h("thead", {}, h("tr", {}, ["condition", "episodes", "right", "alignment", "questions", "harmed"].map((name) =>
        h("th", { scope: "col" }, name)))), h("tbody", {}, rows)),
      h("p", {}, "Means over the episodes that did not fail. Harmed: less alignment than under baseline."),
      h("p", {}, "Choose a scenario, or press ", h("kbd", {}, "j"), ". All keys: ", h("kbd", {}, "?"), ".")));
  }
}
