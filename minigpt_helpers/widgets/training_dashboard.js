// A training run as it goes: progress, time left, loss curves, samples; and its four buttons.
import { button, element, setText, widget } from "./_base.js";
import { lineChart, svg, ticks } from "./_chart.js";

const HEIGHT = 330;
const DASHES = ["6 4", "2 4", "10 3 2 3", "1 3"];

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

// Which buttons can be used. A run inside a cell hears clicks only where `reachable` says so.
export function usable({ status, inCell, reachable }) {
  const running = status === "running", paused = status === "paused";
  const heard = !inCell || reachable;
  return {
    start: !running && !paused,
    pause: running && heard,
    resume: paused && heard,
    stop: (running || paused) && heard,
  };
}

// What the first button says. At the end of a run it adds as many steps; a recorded run has no more.
export function startInWords(step, first, last, recorded) {
  if (step === first) return "Train";
  return recorded && step >= last ? "Play again" : "Train on";
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

  const chart = lineChart({ testid: "chart" });
  const legend = element("div", { class: "minigpt-legend" });
  const samples = element("ol", { class: "minigpt-samples", tabindex: "0",
    "aria-label": "samples, the newest first", "data-testid": "samples" });
  const left = element("div", { class: "minigpt-loss" }, chart.node, legend);
  const right = element("div", { class: "minigpt-written" },
    element("div", { class: "minigpt-written-title" }, "what the model writes"), samples);
  picture.append(element("div", { class: "minigpt-dashboard" }, left, right));

  // While a cell trains, not every page reaches the kernel. So knock: once now, which shows the
  // kernel the way to this page, and when a cell begins to train. If that is heard before the run
  // has ended, the kernel sets `reachable`.
  const knock = send("knock");
  model.on("change:in_cell", () => { if (get("in_cell")) knock(); });
  knock();

  function drawButtons(state) {
    const free = usable(state);
    for (const [name, node] of Object.entries(buttons)) node.disabled = !free[name];
    setText(buttons.start, startInWords(get("step"), get("first_step"), get("last_step"), get("recorded")));
    buttons.pause.hidden = state.status === "paused";
    buttons.resume.hidden = state.status !== "paused";
  }

  function drawChart(state, width, label) {
    const marks = (range, most) => ticks(...range, most).map((value) => [value, String(value)]);
    const steps = Math.max(2, Math.floor(width / 110));
    chart.draw({
      width, height: HEIGHT, label,
      x: { range: state.steps, ticks: marks(state.steps, steps), label: "training step" },
      y: { range: state.losses, ticks: marks(state.losses, 6), label: "loss (nats per character)" },
      levels: Object.values(get("references")).map((value, i) =>
        ({ value, dash: DASHES[i % DASHES.length] })),
      lines: ["train", "smooth", "val"].map((name) => ({ points: state[name],
        look: `minigpt-curve-${name}`, name: `curve-${name}`, dots: name === "val" })),
    });
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
        entry("minigpt-level", DASHES[i % DASHES.length], `${name} ${loss.toFixed(2)}`)));
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
    drawButtons({ status, inCell: get("in_cell"), reachable: get("reachable") });
    const chartWidth = beside ? Math.floor(width * 0.6) : width;
    left.style.width = `${chartWidth}px`;
    drawChart(state, chartWidth, `Loss against training step: after ${step} of ${last} steps `
      + `training ${numberOf(state.smooth)}, validation ${numberOf(state.val)}`);
    drawLegend(state);
    drawSamples(get("samples"));
    const hints = {
      ready: "Press Train to begin.",
      running: get("in_cell") ? `A cell is training. ${get("reachable") ? "Stop, or the" : "The"} `
        + "notebook's stop button ■, ends it and loses nothing." : "",
      paused: "Paused. Resume goes on from here.",
      stopped: "Stopped. What was learnt is kept; Train on goes on from here.",
      done: get("recorded") ? "Done." : "Done. Train on adds more steps.",
    };
    say(hints[status] ?? "");
  };
}

export default widget("TrainingDashboard", build);
