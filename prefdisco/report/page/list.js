// The list of units: only the rows in sight exist, so that ten thousand are as quick as ten.

const ROW = 62; // pixels; the same in the style
const SPARE = 6; // rows beyond either edge

class List {
  // `open` is called with a unit that is chosen. Run and seed are told where there are several.
  constructor(element, data, open) {
    this.element = element;
    this.tell = { run: data.runs.length > 1, seed: new Set(data.units.map((unit) => unit.seed)).size > 1 };
    this.rows = element.querySelector(".rows");
    this.units = [];
    element.addEventListener("scroll", () => requestAnimationFrame(() => this.draw()), { passive: true });
    new ResizeObserver(() => this.draw()).observe(element);
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) open(this.units[Number(row.dataset.at)]);
    });
  }

  // `columns` and `focus` decide which figures a row shows, `current` is the unit that is open, if any.
  show(units, columns, focus, current) {
    const other = units !== this.units || columns.join() !== this.columns?.join() || focus !== this.focus;
    const moved = current !== this.current;
    Object.assign(this, { units, columns, focus, current });
    this.rows.style.height = `${units.length * ROW}px`;
    if (other && !moved) this.element.scrollTop = current ? this.element.scrollTop : 0;
    if (moved || other) this.reveal(units.indexOf(current));
    this.drawn = null;
    this.draw();
  }

  reveal(at) {
    if (at < 0) return;
    const { scrollTop, clientHeight } = this.element;
    if (at * ROW < scrollTop) this.element.scrollTop = at * ROW;
    else if ((at + 1) * ROW > scrollTop + clientHeight) this.element.scrollTop = (at + 1) * ROW - clientHeight;
  }

  draw() {
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / ROW) - SPARE);
    const last = Math.min(this.units.length, Math.ceil((scrollTop + clientHeight) / ROW) + SPARE);
    if (this.drawn === `${first}-${last}`) return;
    this.drawn = `${first}-${last}`;
    this.rows.replaceChildren(...this.units.slice(first, last).map((unit, index) => this.row(unit, first + index)));
    const current = this.current && document.getElementById(`unit-${this.current.number}`);
    if (current) this.element.setAttribute("aria-activedescendant", current.id);
    else this.element.removeAttribute("aria-activedescendant");
  }

  row(unit, at) {
    const where = [unit.family || unit.domain, this.tell.run && unit.run, this.tell.seed && `seed ${unit.seed}`];
    const row = h("div",
      {
        class: "row", id: `unit-${unit.number}`, role: "option", "data-at": at,
        "aria-selected": String(unit === this.current), "aria-posinset": at + 1, "aria-setsize": this.units.length,
      },
      h("div", { class: "row-title", dir: "auto" }, fragment(unit.title)),
      h("div", { class: "row-facts" }, h("span", { class: "row-where" }, where.filter(Boolean).map(plain).join(" · ")),
        this.columns.filter((name) => unit.scores[name]).slice(0, 4).map((name) => miniature(name, unit.scores[name])),
        difference(change(unit, this.focus))),
    );
    row.style.top = `${at * ROW}px`;
    return row;
  }
}

// A condition's outcome in few letters: its initials and the alignment, struck through where the answer was wrong.
function miniature(condition, { failed, right, alignment }) {
  const parts = condition.match(/[a-z]+|\d+/gi) ?? ["?"];
  const initials = parts.slice(0, 3).map((part) => (/\d/.test(part) ? part : part[0].toUpperCase())).join("");
  const verdict = failed ? "failed" : right === null ? "not graded" : right ? "right" : "wrong";
  const name = `${plain(condition)}: ${verdict}${alignment === null ? "" : `, alignment ${figure(alignment)}`}`;
  return h("span", { class: `mini ${failed ? "failed" : right === 0 ? "wrong" : ""}`, title: name },
    h("span", { class: "aside" }, `${name}; `),
    h("span", { "aria-hidden": "true" }, h("i", {}, initials), failed ? "!" : figure(alignment)));
}

// A signed change of alignment, coloured; nothing where there is none.
function difference(by) {
  if (by === null) return h("span", { class: "change" }, "");
  const size = Math.abs(by).toFixed(2);
  if (Math.abs(by) <= SMALLEST) return h("span", { class: "change" }, "±0.00");
  const sign = by < 0 ? "−" : "+";
  const aside = h("span", { class: "aside" }, "change ");
  return h("span", { class: `change ${by < 0 ? "down" : "up"}` }, aside, sign + size);
}

function figure(number, decimals = 2) {
  return number === null || number === undefined ? "–" : number.toFixed(decimals);
}
