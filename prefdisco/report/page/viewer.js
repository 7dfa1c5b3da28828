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
    const body = h("div", { class: "columns" },
      columns.map((name) => column(name, unit, texts.episodes[name], this.data, this.words)));
    body.style.setProperty("--columns", columns.length);
    return [
      this.bar(),
      this.head(unit),
      this.brief(texts),
      h("div", { class: "tabs", role: "tablist", "aria-label": "Condition" }, columns.map((name) => h("button",
        { type: "button", role: "tab", "data-condition": name, onclick: () => this.act.tab(name) }, word(name)))),
      profile(unit, texts, columns) ?? h("p", { class: "none" }, "No profile is stored with these episodes."),
      body,
    ];
  }

  // The ways on, and where the unit stands in the selection.
  bar() {
    const button = (name, text, title, act) => h("button", { type: "button", class: name, title, onclick: act }, text);
    return h("div", { class: "steps" },
      button("back", "← List", "Back to the list (Esc)", () => this.act.close()),
      button("step", "↑", "Previous scenario (k)", () => this.act.step(-1)),
      button("step", "↓", "Next scenario (j)", () => this.act.step(1)),
      h("span", { class: "position" }),
      button("plain unfold", "Unfold thinking", "Unfold or fold (t)", () => this.toggle()));
  }

  head(unit) {
    const facts = [unit.task, unit.domain, unit.family, `seed ${unit.seed}`].filter(Boolean);
    const played = this.data.runs.map((run) => this.data.find(run, unit.scenario, unit.seed)).filter(Boolean);
    const run = (each) => {
      const here = each === unit;
      const open = () => here || this.act.open(each);
      return h("button", { type: "button", class: "run", "aria-pressed": String(here), onclick: open }, word(each.run));
    };
    return h("header", { class: "unit" },
      h("h2", {}, word(unit.scenario)),
      h("div", { class: "where" }, facts.map((text) => h("span", {}, word(text))),
        played.length > 1
          ? h("span", { class: "runs", role: "group", "aria-label": "Runs that played this scenario" }, played.map(run))
          : h("span", {}, word(unit.run))));
  }

  brief({ problem, scenario }) {
    const options = scenario?.options.map((option) => h("li", {}, word(option)));
    return h("div", { class: "brief" },
      h("section", {}, h("h3", {}, "Task"), prose(problem || "–", this.words),
        options?.length ? h("ol", { class: "options" }, options) : null,
        scenario && h("p", { class: "gold" }, "right answer: ", word(scenario.answer))),
      scenario && h("section", {}, h("h3", {}, "Person"), h("p", {}, h("b", {}, word(scenario.name))),
        prose(scenario.description, this.words)));
  }

  place(unit, selection) {
    const at = selection.indexOf(unit);
    const text = `${thousands(at + 1)} of ${thousands(selection.length)}`;
    this.element.querySelector(".position").textContent = at < 0 ? "not in this selection" : text;
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
      const chosen = each.dataset.condition === condition;
      each.classList.toggle("chosen", chosen);
      if (each.getAttribute("role") === "tab") each.setAttribute("aria-selected", String(chosen));
    }
  }

  summary(state, selection, columns) {
    this.turn++;
    Object.assign(this, { shown: null, unit: null });
    const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)}%`);
    const row = (name) => {
      const { episodes, right, alignment, questions, harmed } = means(selection, name);
      const cells = [thousands(episodes), percent(right), figure(alignment), figure(questions), percent(harmed)];
      return h("tr", {}, h("th", { scope: "row" }, word(name)), cells.map((cell) => h("td", {}, cell)));
    };
    const head = ["condition", "episodes", "right", "alignment", "questions", "harmed"];
    const missing = () => word(`${state.scenario}, seed ${state.seed}, of ${state.in}`);
    this.element.replaceChildren(h("div", { class: "summary" },
      h("h2", {}, selection.length === this.data.units.length ? "All scenarios" : "This selection"),
      state.scenario ? h("p", { class: "missing" }, "This report does not have ", missing(), ".") : null,
      h("table", {}, h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, columns.map(row))),
      h("p", {}, "Means over the episodes that did not fail. Harmed: less alignment than under baseline."),
      h("p", {}, "Choose a scenario, or press ", h("kbd", {}, "j"), ". All keys: ", h("kbd", {}, "?"), ".")));
  }
}
