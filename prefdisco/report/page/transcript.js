// One episode as a column: how it ended, what was said and thought, what it cost.

// The published format of a turn.
const WIRE = /^\s*###ACTION###: '(ask_question|final_answer)'\s*\n\s*###RESPONSE###: ?/;
const ROLES = { system: "system", user: "user", assistant: "agent" };

function column(condition, unit, episode, data, words) {
  const scores = unit.scores[condition];
  const article = h("section", { class: "column", "data-condition": condition, "aria-label": plain(condition) },
    h("header", {}, h("h3", {}, word(condition)), verdict(scores),
      h("span", { class: "alignment" }, figure(scores.alignment), " ", difference(change(unit, condition)))));
  article.append(facts(scores, episode));
  if (episode.error) article.append(h("div", { class: "error" }, h("b", {}, "Error"), prose(episode.error, words)));
  article.append(dialogue(episode, data, words), usage(episode));
  return article;
}

function verdict(scores) {
  const name = scores.failed ? "error" : scores.right === null ? "not graded" : scores.right ? "right" : "wrong";
  return h("span", { class: `tag ${name.replace(" ", "-")}` }, name);
}

// The line of figures, and what was remarkable.
function facts(scores, episode) {
  const asked = episode.questions.length;
  const revealing = episode.questions.filter(([, , revealed]) => revealed !== null).length;
  const [calls, , prompt, completion] = episode.usage[0];
  const [adaptive, turns] = episode.adaptive;
  const remarks = [
    ...scores.signatures.map((name) => [plain(name), "signature"]),
    episode.malformed ? [`${episode.malformed} malformed`, "odd"] : null,
    episode.truncated ? ["cut off", "odd"] : null,
    episode.consistent === false ? ["answers other than it thought", "odd"] : null,
    turns ? [`${adaptive} of ${turns} questions adaptive`, ""] : null,
    episode.answered_by ? [`answered by ${plain(episode.answered_by)}`, ""] : null,
  ].filter(Boolean);
  return h("div", { class: "facts" },
    h("span", {}, `${asked} question${asked === 1 ? "" : "s"}${asked ? `, ${revealing} revealing` : ""}`),
    calls ? h("span", {}, `${thousands(prompt)} tokens in, ${thousands(completion)} out`) : null,
    remarks.map(([text, kind]) => h("span", { class: `tag ${kind}` }, text)));
}

function dialogue(episode, data, words) {
  const talk = h("div", { class: "talk" });
  const waiting = [...episode.questions];
  let answer = null; // the question whose answer the next message of the user is
  const last = episode.messages.findLastIndex(([role]) => role === "assistant");
  episode.messages.forEach(([role, content, thinking], number) => {
    if (role === "system") {
      const shared = typeof content === "number";
      const prompt = shared ? data.prompts[content] : content;
      talk.append(h("details", { class: `turn system ${shared ? "shared" : ""}` },
        h("summary", {}, "System prompt"), prose(prompt, words)));
    } else if (role === "user") {
      talk.append(content === null
        ? h("p", { class: "turn task" }, "user: the task above")
        : h("div", { class: "turn user" }, who(role), prose(content, words), answer && revelation(answer, episode)));
      answer = null;
    } else {
      const [, action] = content.match(WIRE) ?? [];
      const said = content.replace(WIRE, "");
      const asks = waiting.length && said.trim().endsWith(waiting[0][0].trim()) && action !== "final_answer";
      answer = asks ? waiting.shift() : null;
      const does = asks ? "asks" : number === last ? "answers" : "says";
      talk.append(h("div", { class: `turn assistant ${does === "answers" ? "final" : ""}` },
        who(role, does), folded(thinking, words), prose(said, words)));
    }
  });
  // What stands in no message is shown all the same.
  talk.append(...waiting.map((question) => loose(question, episode, words)));
  if (episode.response || episode.thinking) {
    talk.append(h("div", { class: "turn assistant final" }, who("assistant", "final response"),
      folded(episode.thinking ?? "", words), prose(episode.response ?? "", words)));
  }
  return talk;
}

function who(role, does = "") {
  return h("div", { class: "who" }, ROLES[role] ?? role, does ? h("span", {}, ` ${does}`) : null);
}

function folded(thinking, words) {
  if (!thinking) return null;
  const count = thinking.trim().split(/\s+/).length;
  return h("details", { class: "thinking" },
    h("summary", {}, `Thinking · ${thousands(count)} word${count === 1 ? "" : "s"}`), prose(thinking, words));
}

function revelation([, , revealed], episode) {
  if (revealed === null) return h("div", { class: "revelation nothing" }, "revealed nothing");
  const value = own(episode.values, revealed);
  const weight = own(episode.weights, revealed);
  return h("div", { class: "revelation" }, "revealed ", h("b", {}, word(revealed)),
    value === undefined ? "" : [": ", word(value)],
    weight === undefined ? "" : `, weight ${(100 * weight).toFixed(0)}%`);
}

function loose(question, episode, words) {
  return h("div", { class: "turn user" }, h("div", { class: "who" }, "question"), prose(question[0], words),
    h("div", { class: "who" }, "answer"), prose(question[1], words), revelation(question, episode));
}

function usage(episode) {
  const roles = ["agent", "user", "judge"].map((name, number) => [name, ...episode.usage[number]]);
  const rows = roles.filter(([, calls]) => calls);
  if (!rows.length) return h("p", { class: "none" }, "No calls of its own: an answer that people share counts once.");
  const head = ["", "calls", "cached", "in", "out", "$"].map((name) => h("th", { scope: "col" }, name));
  return h("details", { class: "usage" }, h("summary", {}, "Usage"),
    h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows.map(([name, ...numbers]) => h("tr", {},
      h("th", { scope: "row" }, name),
      numbers.map((number, at) => h("td", {}, at === 4 ? number.toFixed(4) : thousands(number))))))));
}
