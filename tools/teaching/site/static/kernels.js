// What the kernel works out for each widget in a notebook, worked out in the page: the same as the
// `observe` methods of the classes in minigpt_helpers/widgets.
import { glyph, inWords } from "./_base.js";
import { graphState, Problem } from "./graph.js";
import { Random } from "./random.js";

const LONGEST = { tokens: 400, attention: 64 };
const RANDOM_HEAD_DIM = 8, COLUMNS = 16, MANY = 1000, WRITTEN = 20;

// The same as `check_text` in _base.py: [the letters in use, problem, note].
function checkText(text, known, limit, keep) {
  const letters = [...text];
  if (!letters.length) return [[], "The text is empty. Type at least one character.", ""];
  const unknown = known ? letters.findIndex((char) => !known.includes(char)) : -1;
  if (unknown >= 0)
    return [[], `The model has never seen ${inWords(letters[unknown])} (position ${unknown}). `
      + `It knows: ${known.map((char) => (/\s/.test(char) ? glyph(char) : char)).join("")}`, ""];
  if (letters.length <= limit) return [letters, "", ""];
  return [keep === "first" ? letters.slice(0, limit) : letters.slice(-limit), "",
    `The text has ${letters.length} characters; only the ${keep} ${limit} are used.`];
}

// `about` is what `live_state()` wrote; `given` what else Python gave; `gpt` the trained model.
// `changed(names)` follows a change by the reader, `received(message)` a press of a button.
class Kernel {
  constructor(model, about, given, gpt) {
    Object.assign(this, { model, about, given, gpt });
    this.start();
  }

  start() {
    this.changed(Object.keys(this.about.traits));
  }

  changed() {}

  received() {}

  get(name) {
    return this.model.get(name);
  }

  set(values) {
    for (const [name, value] of Object.entries(values)) this.model.set(name, value);
  }

  // The traits that an address may hold, each with what it may be: [lowest, highest], a list of
  // choices, or a type.
  address() {
    return {};
  }
}

class TokenExplorer extends Kernel {
  changed() {
    const [, problem, note] = checkText(this.get("text"), null, LONGEST.tokens, "first");
    this.set({ problem, note, selected: Math.min(this.get("selected"), this.last()) });
  }

  last() {
    return Math.max(0, Math.min([...this.get("text")].length, LONGEST.tokens) - 1);
  }

  address() {
    const merges = this.get("pairs")?.length ? { merges: [0, this.get("pairs").length] } : {};
    return { text: "string", ...merges, selected: [0, this.last()] };
  }
}

class GraphExplorer extends Kernel {
  changed(names) {
    if (!names.includes("expression") && !names.includes("values")) return;
    try {
      const graph = graphState(this.get("expression"), this.get("values"));
      const step = Math.min(this.get("step"), graph.steps.length - 1);
      this.set({ problem: "", graph, step });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.set({ problem: error.message });   // the graph of the last good expression stays, pale
    }
  }

  address() {
    return { expression: "string", values: "object", step: [0, this.get("graph").steps.length - 1] };
  }
}

// The same as `random_scores` in attention_mask.py.
function randomScores(letters, seed) {
  const vector = (kind, count, number) => new Random(seed, kind, number).normals(count);
  const size = RANDOM_HEAD_DIM, both = vector(2, 2 * size * size, 0);
  const x = letters.map((char, i) => {
    const place = vector(1, size, i);
    return vector(0, size, char.codePointAt(0)).map((value, j) => value + place[j]);
  });
  const through = (start) => x.map((row) => Array.from({ length: size }, (_, j) =>
    row.reduce((sum, value, i) => sum + value * both[start + i * size + j] / Math.sqrt(2 * size), 0)));
  const queries = through(0), keys = through(size * size);
  return Float64Array.from(queries.flatMap((query) => keys.map((key) =>
    query.reduce((sum, value, i) => sum + value * key[i], 0))));
}

class AttentionMaskExplorer extends Kernel {
  start() {
    this.set({ sources: this.gpt ? ["trained", "random"] : ["random"] });
    super.start();
  }

  changed(names) {
    if (!names.includes("text") && !names.includes("weights")) return;
    const { gpt } = this, trained = this.get("weights") === "trained";
    const limit = trained ? Math.min(LONGEST.attention, gpt.config.max_seq_len) : LONGEST.attention;
    const [used, problem, note] = checkText(this.get("text"), trained ? gpt.chars : null, limit, "first");
    this.set({ problem, note });
    if (problem) return;   // the picture of the last good text stays, pale
    const before = this.get("tokens"), last = used.length - 1;
    const whole = before && this.get("length") === before.length;
    const [layers, heads] = trained ? [gpt.config.num_layers, gpt.config.num_heads] : [1, 1];
    const least = (name, most) => Math.min(this.get(name), most);
    this.set({
      scores: trained ? gpt.look(gpt.encode(used)).scores : randomScores(used, this.about.seed),
      head_dim: trained ? gpt.config.embed_dim / heads : RANDOM_HEAD_DIM,
      tokens: used, length: whole ? used.length : least("length", used.length),
      row: least("row", last), column: least("column", last),
      shape: [layers, heads], layer: least("layer", layers - 1), head: least("head", heads - 1),
    });
  }

  address() {
    const last = this.get("tokens").length - 1, [layers, heads] = this.get("shape");
    return { text: "string", weights: this.get("sources"), length: [1, last + 1], layer: [0, layers - 1],
      head: [0, heads - 1], causal: "boolean", scale: "boolean", temperature: [0.1, 4],
      row: [0, last], column: [0, last] };
  }
}

class AttentionViewer extends Kernel {
  start() {
    this.set({ shape: [this.gpt.config.num_layers, this.gpt.config.num_heads] });
    super.start();
  }

  changed(names) {
    if (!names.includes("text")) return;
    const limit = Math.min(LONGEST.attention, this.gpt.config.max_seq_len);
    const [used, problem, note] = checkText(this.get("text"), this.gpt.chars, limit, "last");
    this.set({ problem, note });
    if (problem) return;
    const before = this.get("tokens"), row = this.get("row"), last = used.length - 1;
    this.set({ tokens: used, weights: this.gpt.look(this.gpt.encode(used)).weights,
      row: before && row === before.length - 1 ? last : Math.min(row, last),
      column: Math.min(this.get("column"), last) });
  }

  address() {
    const last = this.get("tokens").length - 1, [layers, heads] = this.get("shape");
    return { text: "string", layer: [0, layers - 1], head: [0, heads - 1], row: [0, last], column: [0, last] };
  }
}

class BlockBench extends Kernel {
  start() {
    this.set(this.given);
  }

  address() {
    return { residual: "boolean", norm: "boolean", positions: "boolean", mask: "boolean" };
  }
}

class TemperatureExplorer extends Kernel {
  start() {
    this.random = new Random(this.about.seed);
    this.set({ top_p: this.get("top_p") ?? 1 });   // not in outputs stored before it was there
    this.set({ max_seq_len: this.gpt.config.max_seq_len, counts: [] });
    super.start();
  }

  changed(names) {
    if (names.some((name) => ["prompt", "temperature", "top_k", "top_p"].includes(name))) this.set({ counts: [] });
    if (!names.includes("prompt")) return;
    const { gpt } = this;
    const [used, problem, note] =
      checkText(this.get("prompt"), gpt.chars, gpt.config.max_seq_len, "last");
    this.set({ problem, note });
    if (!problem) this.set({ logits: gpt.look(gpt.encode(used)).logits.slice(-gpt.chars.length) });
  }

  state() {
    return minigpt.widgets.TemperatureExplorer.temperatureState(this.get("logits"),
      this.get("temperature"), this.get("top_k"), this.get("top_p"));
  }

  draw() {
    this.set({ prompt: this.get("prompt") + this.gpt.chars[this.random.choice(this.state().probs)] });
    this.changed(["prompt"]);
  }

  // The draws: one is the very draw of the notebook, after the same clicks; many are others.
  received({ button }) {
    const { gpt } = this, { prompt } = this.about.traits;
    if (button === "reset") {
      this.random = new Random(this.about.seed);
      this.set({ prompt, temperature: 1, top_k: gpt.chars.length, top_p: 1, bar: 0, counts: [] });
      this.changed(["prompt"]);
    } else if (!this.get("problem")) {
      const { probs } = this.state();
      if (button === "draw-one") this.draw();
      else if (button === "write-on") {
        for (let i = 0; i < WRITTEN; i++) this.draw();
      } else {
        const counts = gpt.chars.map(() => 0);
        for (let i = 0; i < MANY; i++) counts[this.random.choice(probs)]++;
        this.set({ counts });
      }
    }
  }

  address() {
    const size = this.gpt.chars.length;
    return { prompt: "string", temperature: [0, 3], top_k: [1, size], top_p: [0.01, 1],
      bar: [0, Math.min(COLUMNS, size) - 1] };
  }
}

const MOST_POINTS = 300;
const RECORDED = "A recorded run, replayed at its own speed: this page does not train. "
  + "To train it yourself, open the lesson (links at the top).";

// The same as `dashboard_state` in training_dashboard.py.
export function dashboardState({ steps, train_loss, val_steps, val_loss }, lastStep, references) {
  const count = steps.length, window = Math.max(1, Math.floor(count / 20));
  const total = [0];
  for (const loss of train_loss) total.push(total.at(-1) + loss);
  const smooth = (i) => {
    const from = Math.max(i + 1 - window, 0);
    return (total[i + 1] - total[from]) / (i + 1 - from);
  };
  const points = Math.min(count, MOST_POINTS), gap = (count - 1) / (points - 1);
  const chosen = Array.from({ length: points }, (_, i) =>
    (i === points - 1 ? count - 1 : Math.floor(i * gap)));
  const highest = Math.max(...Object.values(references), ...train_loss.slice(0, 1), ...val_loss.slice(0, 1));
  const first = count ? steps[0] - 1 : 0;
  return {
    train: chosen.map((i) => [steps[i], train_loss[i]]),
    smooth: chosen.map((i) => [steps[i], smooth(i)]),
    val: val_steps.map((step, i) => [step, val_loss[i]]),
    steps: [first, Math.max(lastStep, first + 1)],
    losses: [0, Math.ceil(10.5 * highest) / 10],
  };
}

class TrainingDashboard extends Kernel {
  start() {
    this.set({ status: "ready", in_cell: false, reachable: true, seconds_a_step: 0, note: RECORDED,
      recorded: true });
    this.show(this.get("first_step"));
  }

  // An address asked for a step: the run waits there.
  changed(names) {
    if (!names.includes("step")) return;
    clearInterval(this.timer);
    this.set({ status: this.get("step") === this.get("last_step") ? "done" : "paused" });
    this.show(this.get("step"));
  }

  address() {
    return { step: [this.get("first_step"), this.get("last_step")] };
  }

  show(step) {
    const { history, samples, seconds_a_step } = this.given, first = this.get("first_step");
    const upTo = (steps, values) => values.filter((_, i) => steps[i] <= step);
    const { steps, train_loss, val_steps, val_loss } = history;
    const seen = { steps: upTo(steps, steps), train_loss: upTo(steps, train_loss),
      val_steps: upTo(val_steps, val_steps), val_loss: upTo(val_steps, val_loss) };
    const begun = step > first || this.get("status") !== "ready";
    if (step === first) seen.val_steps = seen.val_loss = [];   // measured with the first step
    this.set({
      step, seconds_a_step: step > first ? seconds_a_step : 0,
      samples: samples.filter(([at]) => begun && at <= step),
      state: dashboardState(seen, this.get("last_step"), this.get("references")),
    });
  }

  received({ command }) {
    const running = this.get("status") === "running", paused = this.get("status") === "paused";
    if (command === (paused ? "resume" : "start") && !running) this.run();
    else if (running || paused) {
      if (command === "pause") this.hold("paused");
      else if (command === "stop") this.hold("stopped");
    }
  }

  run() {
    const last = this.get("last_step"), begun = performance.now();
    const from = this.get("step") < last ? this.get("step") : this.get("first_step");
    this.set({ status: "running" });
    this.show(from);
    this.timer = setInterval(() => {
      const seconds = (performance.now() - begun) / 1000;
      this.show(Math.min(from + Math.floor(seconds / this.given.seconds_a_step), last));
      if (this.get("step") === last) this.hold("done");
    }, 100);
  }

  hold(status) {
    clearInterval(this.timer);
    this.set({ status });
    this.model.fire("saved");   // where it holds can be sent as a link
  }
}

export const kernels = { TokenExplorer, GraphExplorer, AttentionMaskExplorer, AttentionViewer, BlockBench,
  TemperatureExplorer, TrainingDashboard };
