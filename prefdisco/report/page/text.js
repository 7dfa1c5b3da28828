// Elements and inert text. Whatever a model wrote becomes a text node: nothing here or elsewhere parses it as HTML.

const LONG = 6000; // characters; a longer text is shown up to SHORT with a button
const SHORT = 4000;
const MOST_MARKS = 2000; // unseen characters of one text that get an element; the others are written out
// Control, format (bidirectional, zero-width), surrogate and other characters that show nothing; runs of the same one.
const UNSEEN = /(?![\t\n])([\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}])\1*/gu;
const PICTURE_BEFORE = /[\p{Extended_Pictographic}\p{Emoji_Modifier}\uFE0F]$/u;
const PICTURE_AFTER = /^\p{Extended_Pictographic}/u;

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

// Unseen characters and what lies between: [text, null] or [run of one character, its name].
function* pieces(text) {
  let end = 0;
  for (const match of text.matchAll(UNSEEN)) {
    if (innocent(match[0], text, match.index)) continue;
    if (match.index > end) yield [text.slice(end, match.index), null];
    const count = match[0].length / match[1].length;
    const code = match[1].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    yield [match[0], `U+${code}${count > 1 ? ` ×${count.toLocaleString("en")}` : ""}`];
    end = match.index + match[0].length;
  }
  if (end < text.length) yield [text.slice(end), null];
}

// One emoji selector, and joiners within an emoji, belong there.
function innocent(run, text, at) {
  if (run === "\uFE0F" || run === "\uFE0E") return true;
  if (run !== "\u200D") return false;
  return PICTURE_BEFORE.test(text.slice(Math.max(at - 2, 0), at)) && PICTURE_AFTER.test(text.slice(at + 1, at + 3));
}

// The same as one string, for menus, titles and labels, which cannot hold elements.
function plain(text) {
  return [...pieces(text.replace(/[\t\r\n]+/g, " "))].map(([piece, name]) => (name ? `⟨${name}⟩` : piece)).join("");
}

function fragment(text) {
  const made = document.createDocumentFragment();
  let marks = 0;
  let rest = "";
  for (const [piece, name] of pieces(text.replace(/\r\n/g, "\n"))) {
    if (name && ++marks <= MOST_MARKS) {
      made.append(rest, h("span", { class: "unseen", title: "a character that cannot be seen" }, name));
      rest = "";
    } else rest += name ? `⟨${name}⟩` : piece;
  }
  made.append(rest);
  return made;
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
  const cut = /[\uD800-\uDBFF]/.test(text[short - 1]) ? short - 1 : short; // never between two halves of a character
  const beyond = text.slice(cut).toLowerCase();
  const found = words.some((each) => beyond.includes(each)) ? "; the search found something there" : "";
  const button = h("button", { type: "button", class: "more" });
  button.textContent = `Show all (${text.length.toLocaleString("en")} characters${found})`;
  button.addEventListener("click", () => {
    block.replaceChildren(fragment(text));
    button.remove();
    block.dispatchEvent(new CustomEvent("grown", { bubbles: true }));
  });
  block.append(fragment(text.slice(0, cut)), "…");
  return h("div", {}, block, button);
}

// Marks the words in all text below `root`, without touching it, where the browser can; unfolds what holds one.
function mark(root, words) {
  if (!globalThis.CSS?.highlights) return;
  const ranges = [];
  const nodes = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (words.length && nodes.nextNode()) {
    const node = nodes.currentNode;
    const lower = node.data.toLowerCase();
    if (lower.length !== node.data.length || !node.parentElement.closest(".text") || node.parentElement.closest(".shared")) continue;
    for (const each of words) {
      for (let at = lower.indexOf(each); at >= 0 && ranges.length < MOST_MARKS; at = lower.indexOf(each, at + each.length)) {
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
