// What the person wants, and how well each condition met it.

const SCORES = { 1: "opposite", 2: "partly opposite", 3: "absent or neutral", 4: "partly met", 5: "met" };
const LONG_REASON = 280; // characters of a judge's reason that are shown at once

function score(value) {
  const name = `${value} of 5: ${SCORES[value] ?? ""}`;
  return h("span", { class: `score s${value}`, role: "img", "aria-label": name, title: name }, String(value));
}

// The table: a row a preference with its weight, a column a condition with grade, reason, and whether a question
// revealed it; in the last row the alignment that they make together.
function profile(unit, texts, columns) {
  const told = Object.values(texts.episodes).find((episode) => Object.keys(episode.weights).length);
  if (!told) return null;
  const total = Object.values(told.weights).reduce((sum, weight) => sum + weight, 0) || 1;
  const meaning = (attribute) => own(texts.scenario?.meaning ?? {}, attribute);
  const wanted = (attribute) => own(told.values, attribute);
  const grades = (attribute) => columns.map((name) =>
    h("td", { class: "grade", "data-condition": name }, grade(texts.episodes[name], attribute)));
  const rows = Object.entries(told.weights)
    .sort(([, one], [, other]) => other - one)
    .map(([attribute, weight]) =>
      h("tr", {},
        h("th", { scope: "row" }, h("span", { class: "attribute" }, word(attribute)),
          wanted(attribute) && [" · ", h("span", { class: "wanted" }, word(wanted(attribute)))],
          meaning(attribute) && prose(meaning(attribute), [], LONG_REASON, LONG_REASON)),
        h("td", { class: "weight" }, bar(weight / total)), grades(attribute)));
  return h("table", { class: "profile" },
    h("caption", {}, "Preferences, weights and grades"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Preference"), h("th", { scope: "col" }, "Weight"),
      columns.map((name) => h("th", { scope: "col", "data-condition": name }, word(name))))),
    h("tbody", {}, rows),
    h("tfoot", {}, h("tr", {}, h("th", { scope: "row" }, "Alignment"), h("td", {}, ""),
      columns.map((name) => h("td", { "data-condition": name }, h("b", {}, figure(unit.scores[name].alignment)), " ",
        difference(change(unit, name)))))));
}

function bar(share) {
  const filled = h("span", { class: "bar", "aria-hidden": "true" });
  filled.style.setProperty("--share", share);
  return [h("span", {}, `${(100 * share).toFixed(0)}%`), filled];
}

function grade(episode, attribute) {
  const given = episode.grades.find(([name]) => name === attribute);
  const revealed = episode.questions.some(([, , name]) => name === attribute);
  return [
    given ? score(given[1]) : h("span", { class: "none" }, "–"),
    " ",
    revealed ? h("span", { class: "tag revealed" }, "asked") : null,
    given?.[2] ? h("div", { class: "reason" }, prose(given[2], [], LONG_REASON, LONG_REASON)) : null,
  ];
}
