// The state of the page is its address: `#transcripts?outcome=harmed&q=bold&scenario=...` restores all of it.

const DEFAULTS = {
  q: "", run: "", task: "", domain: "", family: "", of: "", outcome: "", signature: "", sort: "", columns: "",
  in: "", scenario: "", seed: "", tab: "",
};
const FILTERS = ["q", "run", "task", "domain", "family", "outcome", "signature"]; // what narrows the selection

function readAddress() {
  const [view, query = ""] = location.hash.slice(1).split(/\?(.*)/s);
  const state = { ...DEFAULTS, view: view === "transcripts" ? view : "results", anchor: view };
  for (const [name, value] of new URLSearchParams(query)) if (name in DEFAULTS) state[name] = value;
  return state;
}

function addressOf(state) {
  if (state.view !== "transcripts") return `#${state.view}`;
  const query = new URLSearchParams();
  for (const name of Object.keys(DEFAULTS)) if (state[name] !== DEFAULTS[name]) query.set(name, state[name]);
  const text = query.toString();
  return `#transcripts${text ? `?${text}` : ""}`;
}

// Changes the address. What comes in a stream (`by`: "typing", "stepping") makes one entry of the history, so that the
// back button leads to where the stream began.
function writeAddress(state, by) {
  const address = addressOf(state);
  if (address === location.hash) return;
  const streaming = by && history.state?.by === by;
  history[streaming ? "replaceState" : "pushState"]({ by }, "", address);
}
