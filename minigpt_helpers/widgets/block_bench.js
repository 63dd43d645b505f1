// A GPT with parts switched off: stream, gradients and loss beside those of the whole model.
import { checkbox, element, setText, widget } from "./_base.js";
import { decades, lineChart, powerOfTen, svg } from "./_chart.js";

const PARTS = ["residual", "norm", "positions", "mask"];
const LABELS = { residual: "residual", norm: "layer norm", positions: "positions", mask: "causal mask" };
const HEIGHT = 240;

// The same as `bench_state` in block_bench.py.
export function benchState(results, parts) {
  const variant = results.variants[PARTS.map((name) => Number(parts[name])).join("")];
  return {
    ...variant,
    growth: variant.activations.at(-1) / variant.activations[0],
    slope: variant.gradients[0] / variant.gradients.at(-1),
    whole: results.variants["1111"],
  };
}

// The same as `short` in block_bench.py.
export function short(x) {
  if (x < 0.01) return x.toExponential(0);
  return x.toFixed(x >= 100 ? 0 : x >= 10 ? 1 : 2);
}

// The same as `bench_in_words` in block_bench.py.
export function benchInWords(state, parts) {
  const missing = PARTS.filter((name) => !parts[name]);
  const head = missing.length ? `Without ${missing.join(", ")}` : "The whole model";
  return `${head}: before training the stream ends ${short(state.growth)} times as large as it began, `
    + `and the first block's gradient is ${short(state.slope)} times the last's. After training the `
    + `loss is ${state.train_loss.toFixed(2)}, and ${state.writing_loss.toFixed(2)} while writing.`;
}

function legend() {
  const entry = (look, text) => element("span", { class: "minigpt-legend-line" },
    svg("svg", { width: 40, height: 12, "aria-hidden": "true" },
      svg("line", { class: look, x1: 0, x2: 40, y1: 6, y2: 6 })), text);
  return [entry("minigpt-own", "these parts"), entry("minigpt-whole", "whole model")];
}

function build({ model, controls, picture, say }) {
  const get = (name) => model.get(name);
  controls.append(...PARTS.map((name) => checkbox(model, name, { label: LABELS[name] })), ...legend());

  const charts = {
    activations: lineChart({ testid: "chart-activations", heading: "size of the stream" }),
    gradients: lineChart({ testid: "chart-gradients", heading: "gradient of each block" }),
    curve: lineChart({ testid: "chart-curve", heading: "loss during training" }),
  };
  const facts = element("div", { class: "minigpt-numbers" });
  const fact = (label, testid) => {
    const value = element("b", { "data-testid": testid });
    facts.append(element("span", {}, label), value);
    return value;
  };
  const numbers = {
    start_loss: fact("loss before training", "start-loss"),
    train_loss: fact("loss after training", "train-loss"),
    writing_loss: fact("loss while writing", "writing-loss"),
  };
  const own = fact("share of the last stream that differs between positions", "own-share");
  const sample = element("div", { class: "minigpt-writes", tabindex: "0", role: "region",
    "aria-label": "what the trained model writes", "data-testid": "sample" });
  picture.append(
    element("div", { class: "minigpt-charts" }, ...Object.values(charts).map((chart) => chart.node)),
    element("div", { class: "minigpt-below-charts" }, facts,
      element("div", {}, "the trained model writes", sample)));

  function drawChart(name, state, width) {
    const results = get("results"), range = get("axes")[name];
    const loss = name === "curve", first = name === "activations" ? 0 : 1;
    const scale = loss ? results.every : 1;
    const points = (values) => values.map((value, i) => [scale * (i + first), value]);
    const last = points(state[name]).at(-1)[0];
    const ticksX = loss ? [0, last / 2, last] : state[name].map((_, i) => i + first);
    const ticksY = loss ? [0, 1, 2, 3, 4, 5].map((value) => [value, String(value)])
      : decades(range, 7).map(([value]) => [value, powerOfTen(value)]);
    const ends = `${short(state[name][0])} first, ${short(state[name].at(-1))} last`;
    charts[name].draw({
      width, height: HEIGHT,
      label: `${name}: ${ends}; whole model: ${short(state.whole[name][0])} first, `
        + `${short(state.whole[name].at(-1))} last`,
      x: { range: [loss ? 0 : first - 0.3, last + (loss ? 0 : 0.3)],
        ticks: ticksX.map((value) => [value, String(value)]),
        label: { activations: "layer (0: embedding)", gradients: "block", curve: "training step" }[name] },
      y: { range, log: !loss, ticks: ticksY, label: { activations: "root mean square",
        gradients: "norm of the gradient", curve: "loss (nats)" }[name] },
      lines: [{ points: points(state.whole[name]), look: "minigpt-whole", dots: !loss },
        { points: points(state[name]), look: "minigpt-own", dots: !loss }],
      levels: loss ? [{ value: results.uniform_loss, text: "uniform guess" },
        { value: results.frequency_loss, text: "letter frequencies" }] : [],
    });
  }

  return function draw(width) {
    const parts = Object.fromEntries(PARTS.map((name) => [name, get(name)]));
    const state = benchState(get("results"), parts);
    const beside = width >= 800 ? 3 : 1;
    for (const name of Object.keys(charts))
      drawChart(name, state, Math.floor((width - 12 * (beside - 1)) / beside));
    for (const [name, node] of Object.entries(numbers)) setText(node, state[name].toFixed(2));
    setText(own, `${(100 * state.own_share.at(-1)).toFixed(1)} %`);
    setText(sample, state.sample);
    say(benchInWords(state, parts));
  };
}

export default widget("BlockBench", build);
