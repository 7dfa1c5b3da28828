// What the file holds: the index at once, the chunks of texts when they are needed.

const KEPT = 16; // chunks that stay decoded
const recent = new Map(); // number -> promise of a decoded chunk, the least recently used first

function bytes(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const characters = atob(base64);
  const found = new Uint8Array(characters.length);
  for (let at = 0; at < found.length; at++) found[at] = characters.charCodeAt(at);
  return found;
}

async function unpacked(id) {
  const packed = new Blob([bytes(document.getElementById(id).textContent)]);
  return JSON.parse(await new Response(packed.stream().pipeThrough(new DecompressionStream("deflate-raw"))).text());
}

// The index as objects. A unit is one scenario in one run with one seed; `scores` holds its episodes' figures by
// condition, undefined where there is no episode.
async function readIndex() {
  const index = await unpacked("index");
  const columns = index.units;
  const word = (column, number) => columns[column].words[columns[column].rows[number]];
  const units = columns.scenario.map((scenario, number) => ({
    number,
    scenario,
    seed: columns.seed[number],
    run: word("run", number),
    domain: word("domain", number),
    family: word("family", number),
    task: word("task", number),
    title: columns.title[number],
    place: index.places[number],
    scores: Object.create(null),
  }));
  for (const condition of index.conditions) {
    index.episodes[condition].forEach((figures, number) => {
      if (!figures) return;
      const [right, alignment, questions, failed, signatures] = figures;
      units[number].scores[condition] = { right, alignment, questions, failed: failed === 1, signatures };
    });
  }
  const keys = new Map(units.map((unit) => [keyOf(unit.run, unit.scenario, unit.seed), unit]));
  return {
    units,
    runs: index.runs,
    conditions: index.conditions,
    prompts: index.prompts,
    chunks: index.chunks,
    find: (run, scenario, seed) => keys.get(keyOf(run, scenario, seed)),
  };
}

// A value by a name that a model may have chosen, "constructor" say.
function own(object, name) {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

function keyOf(run, scenario, seed) {
  return JSON.stringify([run, scenario, Number(seed)]);
}

// The texts of a unit: problem, person, episodes by condition.
async function textsOf(unit) {
  const [number, place] = unit.place;
  const reading = recent.get(number) ?? unpacked(`chunk-${number}`);
  recent.delete(number);
  recent.set(number, reading);
  if (recent.size > KEPT) recent.delete(recent.keys().next().value);
  return (await reading)[place];
}

// Lower-case texts to search, by unit and condition; `progress` hears the share that is read, 1 at the end. The browser
// stays responsive: one chunk at a time.
async function readSearchable(data, progress) {
  const searchable = data.units.map(() => Object.create(null));
  const inChunk = Array.from({ length: data.chunks }, () => []);
  for (const unit of data.units) inChunk[unit.place[0]].push(unit);
  for (let number = 0; number < data.chunks; number++) {
    const texts = data.units.length ? await unpacked(`chunk-${number}`) : [];
    for (const unit of inChunk[number]) {
      const { problem, person, scenario, episodes } = texts[unit.place[1]];
      const head = [unit.scenario, person, problem, scenario?.name ?? "", scenario?.description ?? ""].join("\n");
      for (const [condition, episode] of Object.entries(episodes)) {
        const said = episode.messages.flatMap(([, content, thinking]) => [content, thinking]);
        const rest = [episode.response ?? "", episode.thinking ?? "", episode.error ?? ""];
        const strings = [head, ...said, ...rest].filter((text) => typeof text === "string"); // no shared prompts
        searchable[unit.number][condition] = strings.join("\n").toLowerCase();
      }
    }
    progress((number + 1) / data.chunks);
    await new Promise((resolve) => setTimeout(resolve));
  }
  return searchable;
}
