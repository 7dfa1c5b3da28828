// Which units are shown, in which order, and the figures of them together.

const SMALLEST = 1e-9; // below this a difference of alignments is none
const OUTCOMES = {
  right: "right", wrong: "wrong", harmed: "harmed (below baseline)", improved: "improved", same: "neither of the two",
  error: "error",
};
const ORDERS = {
  "": "in order of the runs", harmed: "most harmed first", improved: "most improved first",
  questions: "most questions first", fewest: "fewest questions first",
};

// Words to search for, in lower case; a phrase stands in quotes.
function wordsOf(query) {
  return [...query.toLowerCase().matchAll(/"([^"]+)"|([^\s"]+)/g)].map((match) => match[1] ?? match[2]);
}

// Alignment under a condition minus that under baseline; null where either is missing.
function change(unit, condition) {
  const own = unit.scores[condition]?.alignment ?? null;
  const base = unit.scores.baseline?.alignment ?? null;
  return own === null || base === null || condition === "baseline" ? null : own - base;
}

function outcomeIs(unit, condition, outcome) {
  const scores = unit.scores[condition];
  if (!scores) return false;
  if (outcome === "error") return scores.failed;
  if (scores.failed) return false;
  if (outcome === "right" || outcome === "wrong") return scores.right === (outcome === "right" ? 1 : 0);
  const by = change(unit, condition);
  if (by === null) return false;
  return outcome === "harmed" ? by < -SMALLEST : outcome === "improved" ? by > SMALLEST : Math.abs(by) <= SMALLEST;
}

// The units that pass all filters. `searchable` is undefined until the texts have been read.
function selected(data, state, searchable) {
  const words = wordsOf(state.q);
  const columns = columnsOf(data, state);
  const found = data.units.filter(
    (unit) =>
      (!state.run || unit.run === state.run) &&
      (!state.task || unit.task === state.task) &&
      (!state.domain || unit.domain === state.domain) &&
      (!state.family || unit.family === state.family) &&
      (!state.outcome || outcomeIs(unit, focusOf(data, state), state.outcome)) &&
      (!state.signature || columns.some((name) => unit.scores[name]?.signatures.includes(state.signature))) &&
      columns.some((name) => unit.scores[name]) &&
      (!words.length || (searchable && columns.some((name) => holds(searchable[unit.number][name], words)))),
  );
  return sorted(found, state.sort, focusOf(data, state));
}

function holds(text, words) {
  return text !== undefined && words.every((each) => text.includes(each));
}

function sorted(units, sort, focus) {
  const value = {
    harmed: (unit) => change(unit, focus), improved: (unit) => negative(change(unit, focus)),
    questions: (unit) => negative(unit.scores[focus]?.questions), fewest: (unit) => unit.scores[focus]?.questions,
  }[sort];
  if (!value) return units;
  const keyed = units.map((unit) => [value(unit) ?? Infinity, unit]); // what has no value comes last
  keyed.sort(([a, one], [b, other]) => (a < b ? -1 : a > b ? 1 : one.number - other.number));
  return keyed.map(([, unit]) => unit);
}

function negative(number) {
  return number === null || number === undefined ? null : -number;
}

// The condition whose outcome counts: the chosen one, else discovery, else the last.
function focusOf(data, state) {
  if (data.conditions.includes(state.of)) return state.of;
  return data.conditions.includes("discovery") ? "discovery" : (data.conditions.at(-1) ?? "");
}

// The conditions that are shown, in the order of the data.
function columnsOf(data, state) {
  const chosen = state.columns.split(" ");
  const shown = data.conditions.filter((name) => chosen.includes(name));
  return shown.length ? shown : data.conditions;
}

// Means over the episodes of a selection that did not fail, by condition; `harmed` over those with a baseline.
function means(units, condition) {
  const mean = (numbers) => (numbers.length ? numbers.reduce((sum, each) => sum + each, 0) / numbers.length : null);
  const scored = units.filter((unit) => unit.scores[condition] && !unit.scores[condition].failed);
  const having = (name) => scored.map((unit) => unit.scores[condition][name]).filter((value) => value !== null);
  const changes = scored.map((unit) => change(unit, condition)).filter((value) => value !== null);
  return {
    episodes: scored.length,
    right: mean(having("right")),
    alignment: mean(having("alignment")),
    questions: mean(having("questions")),
    harmed: mean(changes.map((value) => (value < -SMALLEST ? 1 : 0))),
  };
}
