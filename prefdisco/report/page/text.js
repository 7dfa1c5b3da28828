// Elements and inert text. Whatever a model wrote becomes a text node: nothing here or elsewhere parses it as HTML.

const LONG = 6000; // characters; a longer text is shown up to SHORT with a button
const SHORT = 4000;
const PIECE = 10000; // characters of a long text that are laid out together, when they come into sight
const MOST_MARKS = 2000; // runs of unseen characters in one text that are named; further ones are a STANDIN each
const MOST_NAMES = 8; // characters of one run that are named
const STANDIN = "▯";
// Runs of control, format (bidirectional, zero-width), surrogate and other characters that show nothing.
const UNSEEN = /(?:(?![\t\n])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}])+/gu;
const PICTURE = /^[\p{Extended_Pictographic}\p{Emoji_Modifier}]/u;

// An element. Attributes that begin with "on" are listeners; null and false leave an attribute or a child out.
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Unseen characters and what lies between: [text, null] or [run of unseen characters, their names].
function* pieces(text) {
  let end = 0;
  for (const match of text.matchAll(UNSEEN)) {
    if (innocent(match[0], text, match.index)) continue;
    if (match.index > end) yield [text.slice(end, match.index), null];
    yield [match[0], named(match[0])];
    end = match.index + match[0].length;
  }
  if (end < text.length) yield [text.slice(end), null];
}

// One emoji selector, and joiners within an emoji, belong there.
function innocent(run, text, at) {
  if (run === "\uFE0F" || run === "\uFE0E") return true;
  if (run !== "\u200D" && run !== "\uFE0F\u200D") return false;
  const before = [...text.slice(Math.max(at - 4, 0), at).replaceAll("\uFE0F", "")].at(-1) ?? "";
  return PICTURE.test(before) && PICTURE.test(text.slice(at + run.length, at + run.length + 2));
}

function named(run) {
  const first = [...run.slice(0, 2 * MOST_NAMES + 2)];
  const code = (each) => `U+${each.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  const same = run.length / first[0].length;
  if (run === first[0].repeat(same)) return code(first[0]) + (same > 1 ? ` ×${thousands(same)}` : "");
  const names = first.slice(0, MOST_NAMES).map(code).join(" ");
  return first.length > MOST_NAMES ? `${names} … ${thousands(run.length)} in all` : names;
}

// The same as one string, for menus, titles and labels, which cannot hold elements.
function plain(text) {
  return [...pieces(text.replace(/[\t\r\n]+/g, " "))].map(([piece, name]) => (name ? `⟨${name}⟩` : piece)).join("");
}

// `marks.left`: how many runs may still be named, counted down.
function fragment(text, marks = { left: MOST_MARKS }) {
  const made = document.createDocumentFragment();
  let rest = "";
  for (const [piece, name] of pieces(text.replace(/\r\n/g, "\n"))) {
    if (name && marks.left-- > 0) {
      made.append(rest, h("span", { class: "unseen", title: "characters that cannot be seen" }, name));
      rest = "";
    } else rest += name ? STANDIN : piece;
  }
  made.append(rest);
  return made;
}

// 12345 as 12,345.
function thousands(number) {
  return number.toLocaleString("en");
}

// A short text inside a line, isolated, so that its direction ends with it.
function word(text) {
  return h("bdi", {}, fragment(text));
}

// A text of any length in a block of its own. A long one is cut; `words`, those searched for, may stand beyond the cut.
function prose(text, words = [], long = LONG, short = SHORT) {
  const block = h("div", { class: "text", dir: "auto" });
  if (text.length <= long) {
    block.append(fragment(text));
    return block;
  }
  const cut = between(text, short);
  const beyond = text.slice(cut).toLowerCase();
  const found = words.some((each) => beyond.includes(each)) ? "; the search found something there" : "";
  const button = h("button", { type: "button", class: "more" });
  button.textContent = `Show all (${thousands(text.length)} characters${found})`;
  button.addEventListener("click", () => {
    block.replaceChildren(...blocks(text));
    button.remove();
    block.dispatchEvent(new CustomEvent("grown", { bubbles: true }));
  });
  block.append(fragment(text.slice(0, cut)), "…");
  return h("div", {}, block, button);
}

// The whole of a long text as blocks that are laid out when they come into sight, cut at line breaks if there are any.
function blocks(text) {
  const made = [];
  const marks = { left: MOST_MARKS };
  for (let start = 0; start < text.length; ) {
    const line = text.lastIndexOf("\n", start + PIECE);
    const broken = start + PIECE < text.length && line > start;
    const end = broken ? line : between(text, start + PIECE);
    made.push(h("div", { class: "piece", dir: "auto" }, fragment(text.slice(start, end), marks)));
    start = broken ? end + 1 : end;
  }
  return made;
}

// The place, or the one before it where it lies between two halves of a character.
function between(text, at) {
  return /[\uD800-\uDBFF]/.test(text[at - 1] ?? "") ? at - 1 : at;
}

// Marks the words in all text below `root`, without touching it, where the browser can; unfolds what holds one.
function mark(root, words) {
  if (!globalThis.CSS?.highlights) return;
  const ranges = [];
  const nodes = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (words.length && nodes.nextNode()) {
    const node = nodes.currentNode;
    const lower = node.data.toLowerCase();
    const searched = node.parentElement.closest(".text") && !node.parentElement.closest(".shared, .profile");
    if (!searched || lower.length !== node.data.length) continue;
    for (const each of words) {
      let at = -each.length;
      while ((at = lower.indexOf(each, at + each.length)) >= 0 && ranges.length < MOST_MARKS) {
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, at + each.length);
        ranges.push(range);
        node.parentElement.closest("details")?.setAttribute("open", "");
      }
    }
  }
  CSS.highlights.set("found", new Highlight(...ranges));
}
