// Wires the parts: an address becomes a state, a state is shown, and what a person does becomes an address.

async function start() {
  const byId = (id) => document.getElementById(id);
  theme(byId("theme"));
  const data = await readIndex();
  const read = () => {
    const found = readAddress();
    if (!Object.hasOwn(OUTCOMES, found.outcome)) found.outcome = "";
    if (!Object.hasOwn(ORDERS, found.sort)) found.sort = "";
    return location.hash || document.querySelector(".sections section") ? found : { ...found, view: "transcripts" };
  };
  let state = read();
  let selection = [];
  let chosen = ""; // what `selection` was made for
  let searchable;
  let share = 0;

  const unitOf = () => (state.scenario ? data.find(state.in, state.scenario, state.seed) : undefined);
  const change = (changes, by) => {
    state = { ...state, view: "transcripts", ...changes };
    writeAddress(state, by);
    show();
  };
  const open = (unit, by) => {
    change({ in: unit.run, scenario: unit.scenario, seed: String(unit.seed) }, by);
    if (matchMedia("(max-width: 800px)").matches) byId("detail").focus();
  };
  const close = () => {
    change({ in: "", scenario: "", seed: "", tab: "" });
    byId("list").focus();
  };
  const step = (by) => {
    const next = selection[Math.min(Math.max(selection.indexOf(unitOf()) + by, 0), selection.length - 1)];
    if (next && next !== unitOf()) open(next, "stepping");
    return true;
  };
  const nextRun = () => {
    const unit = unitOf();
    const others = unit ? data.runs.map((run) => data.find(run, unit.scenario, unit.seed)).filter(Boolean) : [];
    if (others.length > 1) open(others[(others.indexOf(unit) + 1) % others.length], "stepping");
  };

  const controls = new Controls(byId("filters"), data, change);
  const list = new List(byId("list"), data, open);
  const viewer = new Viewer(byId("detail"), data, { step, open, close, tab: (tab) => change({ tab }, "tab") });

  function show() {
    const transcripts = state.view === "transcripts";
    byId("results").hidden = transcripts;
    byId("transcripts").hidden = !transcripts;
    for (const name of ["results", "transcripts"]) {
      if ((name === "transcripts") === transcripts) byId(`to-${name}`).setAttribute("aria-current", "page");
      else byId(`to-${name}`).removeAttribute("aria-current");
    }
    if (!transcripts) {
      const target = /^section-\d+$/.test(state.anchor) && byId(state.anchor);
      if (target) target.scrollIntoView();
      return;
    }
    byId("to-transcripts").href = addressOf(state); // from the results one comes back to the same place
    const deciding = [...FILTERS, "of", "columns", "sort"].map((name) => state[name]);
    const wanted = JSON.stringify([...deciding, Boolean(searchable)]);
    if (wanted !== chosen) {
      selection = selected(data, state, searchable);
      chosen = wanted;
    }
    const unit = unitOf();
    byId("transcripts").classList.toggle("open", Boolean(state.scenario));
    controls.show(state, status());
    list.show(selection, columnsOf(data, state), focusOf(data, state), unit);
    viewer.show(unit, state, selection).catch(failed);
  }

  function status() {
    if (state.q && !searchable) return `Reading the texts: ${Math.floor(100 * share)}%`;
    const all = thousands(data.units.length);
    if (!data.units.length) return "No episodes";
    if (!selection.length) return `Nothing matches, of ${all} scenarios`;
    const scenarios = `${all} scenario${data.units.length === 1 ? "" : "s"}`;
    return selection.length === data.units.length ? scenarios : `${thousands(selection.length)} of ${scenarios}`;
  }

  const restore = () => {
    state = read();
    show();
  };
  addEventListener("popstate", restore); // also heard when a link within the page changes the hash
  byId("help-open").addEventListener("click", () => byId("help").showModal());
  const inTranscripts = (act) => (event) => state.view === "transcripts" && act(event);
  const inList = (act) => (event) => [document.body, byId("list")].includes(document.activeElement) && act(event);
  keyboard({
    j: inTranscripts(() => step(1)),
    k: inTranscripts(() => step(-1)),
    ArrowDown: inTranscripts(inList(() => step(1))),
    ArrowUp: inTranscripts(inList(() => step(-1))),
    r: inTranscripts(nextRun),
    t: inTranscripts(() => viewer.toggle()),
    f: inTranscripts(() => {
      controls.toggle();
      if (!byId("panel").hidden) byId("panel").querySelector("label:not([hidden]) select").focus();
      return true;
    }),
    "/": () => {
      if (state.view !== "transcripts") change({});
      byId("q").focus();
      byId("q").select();
      return true;
    },
    "?": () => byId("help").showModal(),
    Escape: inTranscripts((event) => {
      if (event.target.id === "q") {
        if (state.q) change({ q: "" });
        byId("list").focus();
      } else if (byId("panel").contains(event.target) || !byId("panel").hidden) {
        controls.toggle(false);
        byId("filters-open").focus();
      } else if (state.scenario) close();
      return true;
    }),
  });

  show();
  await painted();
  performance.mark("interactive");
  document.documentElement.dataset.ready = "list";
  searchable = await readSearchable(data, (progress) => {
    share = progress;
    if (state.q) controls.show(state, status());
  });
  performance.mark("searchable");
  document.documentElement.dataset.ready = "search";
  if (state.q) show();
}

// Until what was shown is on the screen: the second frame begins after the first was drawn. In the background none is.
function painted() {
  return new Promise((resolve) => {
    requestAnimationFrame(() => requestAnimationFrame(resolve));
    setTimeout(resolve, 500);
  });
}

function failed(error) {
  const notice = document.createElement("p");
  notice.className = "notice";
  notice.textContent = `Cannot read the transcripts: ${error.message}. They need a browser of 2024 and the whole file.`;
  document.querySelector(".top").after(notice);
  throw error;
}

start().catch(failed);
