// A training run as it goes: progress, time left, loss curves, samples; and its four buttons.
import { button, element, setText, widget } from "./_base.js";

const HEIGHT = 330;
const MARGIN = { left: 52, right: 26, top: 14, bottom: 44 };
const DASHES = ["6 4", "2 4", "10 3 2 3", "1 3"];
const SVG = "http://www.w3.org/2000/svg";

// 75 -> "1 min 15 s"
export function duration(seconds) {
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

// What the progress line says.
export function progressInWords({ status, step, first, last, secondsAStep }) {
  const done = step - first, all = last - first;
  const words = [`${status}: step ${step} of ${last}`, `${Math.round((100 * done) / all)} %`];
  if (done > 0 && secondsAStep > 0) {
    if (status === "running") words.push(`${duration((last - step) * secondsAStep)} left`);
    words.push(`${(1000 * secondsAStep).toFixed(1)} ms a step`);
  }
  return words.join(" · ");
}

// Round numbers at most `most` apart steps from `low` to `high`.
export function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * (1 - 1e-9));
  const found = [];
  for (let i = Math.ceil(low / size - 1e-9); i * size <= high + size * 1e-9; i++)
    found.push(Number((i * size).toPrecision(12)));
  return found;
}

// The pixels [x, y] of points [step, loss]; a loss beyond the axis lies on its edge.
export function pixels(points, { steps: [s0, s1], losses: [l0, l1] }, width, height) {
  const across = width - MARGIN.left - MARGIN.right;
  const down = height - MARGIN.top - MARGIN.bottom;
  return points.map(([step, loss]) => [
    MARGIN.left + (across * (step - s0)) / (s1 - s0),
    MARGIN.top + down * (1 - (Math.min(Math.max(loss, l0), l1) - l0) / (l1 - l0)),
  ]);
}

function svg(tag, attributes = {}, text = undefined) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function build({ model, controls, picture, say }) {
  const get = (name) => model.get(name);
  const send = (command) => () => model.send({ command });
  const buttons = {
    start: button("start", "Train", send("start")),
    pause: button("pause", "Pause", send("pause")),
    resume: button("resume", "Resume", send("resume")),
    stop: button("stop", "Stop", send("stop")),
  };
  const progress = element("progress", { max: 1, value: 0, "aria-label": "progress",
    "data-testid": "progress" });
  const inWords = element("span", { class: "minigpt-progress-words", "data-testid": "progress-words" });
  controls.append(...Object.values(buttons), progress, inWords);

  const chart = svg("svg", { role: "img", "data-testid": "chart" });
  const legend = element("div", { class: "minigpt-legend" });
  const samples = element("ol", { class: "minigpt-samples", tabindex: "0",
    "aria-label": "samples, the newest first", "data-testid": "samples" });
  const left = element("div", { class: "minigpt-loss" }, chart, legend);
  const right = element("div", { class: "minigpt-written" },
    element("div", { class: "minigpt-written-title" }, "what the model writes"), samples);
  picture.append(element("div", { class: "minigpt-dashboard" }, left, right));

  function drawButtons(status) {
    const free = !get("in_cell");
    const running = status === "running", paused = status === "paused";
    buttons.start.disabled = running || paused || get("step") >= get("last_step");
    setText(buttons.start, get("step") > get("first_step") ? "Train on" : "Train");
    buttons.pause.hidden = paused;
    buttons.pause.disabled = !(running && free);
    buttons.resume.hidden = !paused;
    buttons.stop.disabled = !((running || paused) && free);
  }

  function drawChart(state, width) {
    const place = (points) => pixels(points, state, width, HEIGHT);
    const [s0, s1] = state.steps, [l0, l1] = state.losses;
    const [[left, bottom], [right, top]] = place([[s0, l0], [s1, l1]]);
    const level = (look, loss, more = {}) => {
      const [[, y]] = place([[s0, loss]]);
      return svg("line", { class: look, x1: left, x2: right, y1: y, y2: y, ...more });
    };
    const parts = [];
    for (const loss of ticks(l0, l1, 6)) {
      const [[x, y]] = place([[s0, loss]]);
      parts.push(level("minigpt-grid", loss),
        svg("text", { class: "minigpt-tick-y", x: x - 8, y: y + 5 }, String(loss)));
    }
    for (const step of ticks(s0, s1, Math.max(2, Math.floor(width / 110)))) {
      const [[x]] = place([[step, l0]]);
      parts.push(svg("text", { x, y: bottom + 20 }, String(step)));
    }
    const middle = { x: (left + right) / 2, y: (top + bottom) / 2 };
    parts.push(svg("text", { x: middle.x, y: HEIGHT - 5 }, "training step"),
      svg("text", { transform: `translate(14 ${middle.y}) rotate(-90)` }, "loss (nats per token)"));
    Object.values(get("references")).forEach((loss, i) => parts.push(
      level("minigpt-reference", loss, { "stroke-dasharray": DASHES[i % DASHES.length] })));
    for (const name of ["train", "smooth", "val"])
      parts.push(svg("polyline", { class: `minigpt-curve-${name}`, "data-testid": `curve-${name}`,
        points: place(state[name]).map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`).join(" ") }));
    for (const [cx, cy] of place(state.val))
      parts.push(svg("circle", { class: "minigpt-curve-point", cx, cy, r: 4 }));
    chart.setAttribute("width", width);
    chart.setAttribute("height", HEIGHT);
    chart.replaceChildren(...parts);
  }

  const numberOf = (points) => (points.length ? points.at(-1)[1].toFixed(3) : "–");

  function drawLegend(state) {
    const entry = (look, dash, text) => {
      const line = svg("svg", { width: 34, height: 12, "aria-hidden": "true" });
      line.append(svg("line", { class: look, x1: 0, x2: 34, y1: 6, y2: 6, "stroke-dasharray": dash }));
      return element("span", {}, line, text);
    };
    legend.replaceChildren(
      entry("minigpt-curve-smooth", "", `training ${numberOf(state.smooth)}`),
      entry("minigpt-curve-val", "7 4", `validation ${numberOf(state.val)}`),
      ...Object.entries(get("references")).map(([name, loss], i) =>
        entry("minigpt-reference", DASHES[i % DASHES.length], `${name} ${loss.toFixed(2)}`)));
  }

  function drawSamples(texts) {
    if (samples.childElementCount === texts.length) return;
    samples.replaceChildren(...texts.map(([step, text]) => element("li", {},
      element("b", {}, `step ${step}`), element("pre", {}, text))).reverse());
  }

  return function draw(width) {
    const state = get("state"), status = get("status");
    const beside = width >= 760;
    left.parentElement.classList.toggle("minigpt-below", !beside);
    const [step, first, last] = ["step", "first_step", "last_step"].map(get);
    progress.value = (step - first) / (last - first);
    setText(inWords, progressInWords({ status, step, first, last, secondsAStep: get("seconds_a_step") }));
    drawButtons(status);
    const chartWidth = beside ? Math.floor(width * 0.6) : width;
    left.style.width = `${chartWidth}px`;
    drawChart(state, chartWidth);
    drawLegend(state);
    drawSamples(get("samples"));
    chart.setAttribute("aria-label", `Loss against training step: after ${step} of ${last} steps `
      + `training ${numberOf(state.smooth)}, validation ${numberOf(state.val)}`);
    const hints = {
      ready: "Press Train to begin.",
      running: get("in_cell") ? "A cell is training. The notebook's stop button ■ ends it and "
        + "loses nothing." : "",
      paused: "Paused. Resume goes on from here.",
      stopped: "Stopped. What was learnt is kept; Train on goes on from here.",
      done: "Done.",
    };
    say(hints[status] ?? "");
  };
}

export default widget("TrainingDashboard", build);
