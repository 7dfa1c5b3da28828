// The form of filters, the theme and the keyboard.

const MENUS = {
  run: "all runs", task: "all tasks", domain: "all domains", family: "all families", signature: "any or none",
};

class Controls {
  // `change(changes, by)` is called with what the person chose.
  constructor(form, data, change) {
    Object.assign(this, { form, data, change });
    this.panel = form.querySelector("#panel");
    this.opener = form.querySelector("#filters-open");
    for (const [name, all] of Object.entries(MENUS)) this.menu(name, all);
    this.fill("of", data.conditions.map((name) => [name, plain(name)]));
    this.fill("outcome", [["", "any"], ...Object.entries(OUTCOMES)]);
    this.fill("sort", Object.entries(ORDERS));
    form.querySelector("#columns").append(...data.conditions.map((name) =>
      h("label", {}, h("input", { type: "checkbox", name: "columns", value: name }), word(name))));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", (event) => this.heard(event.target));
    this.opener.addEventListener("click", () => this.toggle());
    form.querySelector("#clear").addEventListener("click", () => change(cleared()));
  }

  // A menu of the values that the units have, with how many have each; hidden where there is no choice.
  menu(name, all) {
    const counts = new Map();
    for (const unit of this.data.units) {
      const signatures = () => new Set(Object.values(unit.scores).flatMap((each) => each.signatures));
      const values = name === "signature" ? signatures() : [unit[name]];
      for (const value of values) if (value) counts.set(value, (counts.get(value) ?? 0) + 1);
    }
    this.form.querySelector(`#for-${name}`).hidden = counts.size < (name === "signature" ? 1 : 2);
    const options = [...counts].map(([value, count]) => [value, `${plain(value)} (${thousands(count)})`]);
    this.fill(name, [["", all], ...options]);
  }

  fill(name, options) {
    this.form.elements[name].append(...options.map(([value, text]) => h("option", { value }, text)));
  }

  heard(target) {
    if (target.id === "q") return this.change({ q: target.value }, "typing");
    if (target.name !== "columns") return this.change({ [target.name]: target.value });
    const chosen = [...this.form.querySelectorAll("[name=columns]:checked")].map((box) => box.value);
    this.change({ columns: chosen.length === this.data.conditions.length ? "" : chosen.join(" ") });
  }

  toggle(open = this.panel.hidden) {
    this.panel.hidden = !open;
    this.opener.setAttribute("aria-expanded", String(open));
  }

  // Shows the state: the fields, how many filters are set, and each of them to take away.
  show(state, status) {
    const fields = this.form.elements;
    const query = this.form.querySelector("#q");
    if (query.value !== state.q) query.value = state.q;
    for (const name of [...Object.keys(MENUS), "outcome", "sort"]) fields[name].value = state[name];
    fields.of.value = focusOf(this.data, state);
    const shown = columnsOf(this.data, state);
    for (const box of this.form.querySelectorAll("[name=columns]")) box.checked = shown.includes(box.value);
    const set = FILTERS.filter((name) => name !== "q" && state[name]);
    this.opener.textContent = set.length ? `Filters · ${set.length}` : "Filters";
    const active = this.form.querySelector("#active");
    active.hidden = !set.length;
    active.replaceChildren(...set.map((name) => {
      const text = `${name === "outcome" ? plain(focusOf(this.data, state)) : name}: ${plain(state[name])}`;
      const remove = () => this.change({ [name]: "" });
      const label = `Remove filter ${text}`;
      return h("button", { type: "button", class: "chip", "aria-label": label, onclick: remove }, text, " ×");
    }));
    this.form.querySelector("#count").textContent = status;
  }
}

function cleared() {
  return Object.fromEntries([...FILTERS, "of", "columns"].map((name) => [name, DEFAULTS[name]]));
}

// The theme: as the system has it, light, dark. Kept where the browser allows.
function theme(button) {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const names = ["auto", "light", "dark"];
  let chosen = "auto";
  try {
    chosen = localStorage.getItem("prefdisco-theme") ?? "auto";
  } catch {
    // Storage may be forbidden; then the choice lasts as long as the page.
  }
  const show = () => {
    if (!names.includes(chosen)) chosen = "auto";
    root.dataset.theme = chosen;
    root.dataset.shade = chosen === "dark" || (chosen === "auto" && system.matches) ? "dark" : "light";
    button.textContent = { auto: "Theme: auto", light: "Theme: light", dark: "Theme: dark" }[chosen];
  };
  button.addEventListener("click", () => {
    chosen = names[(names.indexOf(chosen) + 1) % names.length];
    try {
      localStorage.setItem("prefdisco-theme", chosen);
    } catch {
      // As above.
    }
    show();
  });
  system.addEventListener("change", show);
  show();
}

// Keys of the whole page: `keys` maps a key to what it does. Fields keep theirs, but Escape.
function keyboard(keys) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const field = event.target.closest?.("input, select, textarea");
    if (field && event.key !== "Escape") return;
    if (keys[event.key]?.(event) === true) event.preventDefault();
  });
}
