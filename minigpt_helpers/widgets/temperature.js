// The distribution of the next character, and what temperature and top-k do to it.
import { button, change, element, floats, glyph, inWords, setText, slider, softmaxInto, textBox,
  widget } from "./_base.js";

const COLUMNS = 16;
const TOPS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1];   // where the axis of the bars may end

// The same as `temperature_state` in temperature.py. logits: V numbers.
export function temperatureState(logits, temperature, topK, topP = 1) {
  const size = logits.length;
  // the largest first; JavaScript's sort keeps equal ones in the order of their ids
  const order = Array.from({ length: size }, (_, id) => id).sort((a, b) => logits[b] - logits[a]);
  const greedy = order[0];
  const probs = new Float64Array(size);
  if (temperature === 0) {
    probs[greedy] = 1;
  } else {
    const scaled = new Float64Array(size).fill(-Infinity);
    for (const id of order.slice(0, topK))
      scaled[id] = (logits[id] - logits[greedy]) / temperature;
    softmaxInto(probs, scaled, 0, size);
    if (topP < 1) {   // the fewest most likely ones that reach topP; sums are off by some last bits
      let reached = 0, kept = 0;
      const most = Math.min(topK, size);
      while (kept < most && reached < topP - 1e-12) reached += probs[order[kept++]];
      for (const id of order.slice(kept)) probs[id] = 0;
      const total = probs.reduce((all, p) => all + p, 0);
      for (let id = 0; id < size; id++) probs[id] /= total;
    }
  }
  let entropy = 0;
  for (const p of probs) if (p > 0) entropy -= p * Math.log(p);
  return { probs, entropy, greedy, order };
}

// The same as `columns` in temperature.py: ids with a bar of their own, and the others.
export function columns(order, most = COLUMNS) {
  return order.length <= most ? [order, []] : [order.slice(0, most - 1), order.slice(most - 1)];
}

// The same as `axis_top` in temperature.py.
export const axisTop = (tallest) => TOPS.find((top) => tallest <= top + 1e-9);

// ".452", "1" or "0": the zero before the point would cost the room of a digit.
const shortened = (p) => (p === 0 || p === 1 ? String(p) : p.toFixed(3).replace(/^0/, ""));
const sum = (ids, values) => ids.reduce((total, id) => total + values[id], 0);

function build({ model, controls, picture, say, redraw }) {
  const get = (name) => model.get(name);
  const size = get("chars").length;
  const fresh = () => ({ counts: [] });   // counts belong to one distribution only
  const click = (name) => () => model.send({ button: name });
  controls.append(
    textBox(model, "prompt", { label: "prompt", also: fresh }),
    slider(model, "temperature", { label: "temperature", min: 0, max: 3, step: 0.01, also: fresh,
      format: (value) => value.toFixed(2) }),
    slider(model, "top_k", { label: "top-k", min: 1, max: size, also: fresh,
      format: (value) => (value === size ? "all" : String(value)) }),
    slider(model, "top_p", { label: "top-p", min: 0.01, max: 1, step: 0.01, also: fresh,
      format: (value) => (value === 1 ? "all" : value.toFixed(2)) }),
    button("draw-one", "draw one and append", click("draw-one")),
    button("write-on", "write on", click("write-on")),
    button("draw-many", "draw 1000", click("draw-many")),
    button("reset", "reset", click("reset")),
  );

  const read = element("p", { class: "minigpt-read", "data-testid": "read" },
    "the model reads: ", element("del"), element("mark"));
  const shown = Math.min(COLUMNS, size);
  const bars = Array.from({ length: shown }, () => {
    const [prob, bar, dot, token, count] = ["b", "i", "u", "b", "span"].map((tag) => element(tag));
    const node = element("li", {}, prob, element("div", { class: "minigpt-bar" }, bar, dot), token,
      count);
    return { node, prob, bar, dot, token, count };
  });
  bars.forEach(({ node }, i) => { node.onclick = () => change(model, { bar: i }); });
  const chart = element("ol", { class: "minigpt-bars", tabindex: "0", "data-testid": "bars",
    "aria-label": "probability of each next character; arrow keys select a bar" },
    ...bars.map(({ node }) => node));
  chart.onkeydown = (event) => {
    const bar = get("bar"), last = shown - 1;
    const to = { ArrowLeft: bar - 1, ArrowRight: bar + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    change(model, { bar: Math.min(Math.max(to, 0), last) });
  };
  const entropy = element("output", { "data-testid": "entropy" });
  const greedy = element("output", { "data-testid": "greedy" });
  const key = element("span", { class: "minigpt-key" }, "count of 1000 draws");
  const facts = element("p", { class: "minigpt-facts" }, "entropy ", entropy, "greedy takes ",
    greedy, key);
  const ticks = ["", "", "0"].map((text) => element("span", {}, text));
  const axis = element("div", { class: "minigpt-axis", "aria-hidden": "true" }, ...ticks);
  const box = element("div", { class: "minigpt-chart" }, axis, chart);
  picture.append(read, facts, box);

  return function draw() {
    const logits = floats(get("logits"));
    if (logits.length === 0) return;
    const chars = get("chars");
    const state = temperatureState(logits, get("temperature"), get("top_k"), get("top_p"));
    const [single, others] = columns(state.order);
    const counts = get("counts");
    const selected = Math.min(get("bar"), shown - 1);

    const letters = Array.from(get("prompt"), glyph), kept = get("max_seq_len");
    setText(read.children[0], letters.slice(0, -kept).join(""));
    setText(read.children[1], letters.slice(-kept).join(""));
    read.scrollLeft = read.scrollWidth;   // of a long prompt the end is what counts
    const nats = state.entropy.toFixed(3), bits = (state.entropy / Math.LN2).toFixed(3);
    setText(entropy, `${nats} nats = ${bits} bits`);
    setText(greedy, inWords(chars[state.greedy]));

    const groups = bars.map((_, i) => (i < single.length ? [single[i]] : others));
    const top = axisTop(Math.max(...groups.map((ids) =>
      Math.max(sum(ids, state.probs), counts.length ? sum(ids, counts) / 1000 : 0))));
    setText(ticks[0], String(top).replace(/^0/, ""));
    setText(ticks[1], String(top / 2).replace(/^0/, ""));
    key.style.visibility = counts.length ? "visible" : "hidden";
    chart.dataset.top = top;

    bars.forEach(({ node, prob, bar, dot, token, count }, i) => {
      const ids = groups[i];
      const p = sum(ids, state.probs);
      const drawn = counts.length ? sum(ids, counts) : null;
      setText(prob, shortened(p));
      setText(token, i < single.length ? glyph(chars[ids[0]]) : "rest");
      setText(count, drawn === null ? "" : String(drawn));
      bar.style.transform = `scaleY(${p / top})`;
      dot.style.transform = `translateY(${-100 * (drawn ?? 0) / 1000 / top}%)`;
      dot.hidden = drawn === null;
      node.dataset.prob = p;
      node.dataset.count = drawn ?? "";
      node.classList.toggle("minigpt-chosen", i === selected);
    });

    const { offsetLeft, offsetWidth } = bars[selected].node;   // in a narrow page the bars scroll
    if (offsetLeft < box.scrollLeft || offsetLeft + offsetWidth > box.scrollLeft + box.clientWidth)
      box.scrollLeft = offsetLeft - box.clientWidth / 2;

    const ids = groups[selected];
    const name = selected < single.length ? inWords(chars[ids[0]])
      : `the other ${ids.length} together`;
    const p = sum(ids, state.probs);
    const compared = counts.length === 0 ? ""
      : `, drawn ${sum(ids, counts)} times, expected ${(1000 * p).toFixed(1)}`;
    say(`${name}: probability ${p.toFixed(4)}${compared}`);
  };
}

export default widget("TemperatureExplorer", build);
