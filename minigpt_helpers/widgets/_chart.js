// A line chart as SVG: axes with ticks, linear or logarithmic, lines, and levels with a name.
import { element } from "./_base.js";

const MARGIN = { left: 58, right: 14, top: 8, bottom: 42 };

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// From a value to its place in 0..1 between `low` and `high`; values beyond lie on the edge.
export function placeOf(value, [low, high], log = false) {
  const f = log ? (x) => Math.log10(Math.max(x, Number.MIN_VALUE)) : (x) => x;
  return Math.min(Math.max((f(value) - f(low)) / (f(high) - f(low)), 0), 1);
}

// The powers of ten from `low` to `high`, every one or every second, ...: at most `most` of them.
export function decades([low, high], most) {
  const first = Math.round(Math.log10(low)), last = Math.round(Math.log10(high));
  const step = Math.ceil((last - first + 1) / most);
  const found = [];
  for (let i = first; i <= last; i += step) found.push(i);
  return found.map((i) => [10 ** i, 10 ** i]);
}

// Round numbers from `low` to `high`, about `most` of them.
export function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * (1 - 1e-9));
  const found = [];
  for (let i = Math.ceil(low / size - 1e-9); i * size <= high + size * 1e-9; i++)
    found.push(Number((i * size).toPrecision(12)));
  return found;
}

const SMALL = "⁰¹²³⁴⁵⁶⁷⁸⁹";

// "0.01", "1", "100", but "10⁻⁶"
export function powerOfTen(value) {
  const power = Math.round(Math.log10(value));
  if (Math.abs(power) <= 2) return String(Number(value.toPrecision(1)));
  return `10${power < 0 ? "⁻" : ""}${[...String(Math.abs(power))].map((d) => SMALL[d]).join("")}`;
}

// `draw({ width, height, label, x, y, lines, levels })`: `x` and `y` hold `range`, `ticks` (pairs of
// value and text), `label`, and `y` perhaps `log`; a line holds `points`, `look` (a class), perhaps
// `dots` and a `name`; a level `value`, and perhaps `text` and `dash`.
export function lineChart({ testid, heading }) {
  const canvas = svg("svg", { role: "img", "data-testid": testid });
  const node = element("div", { class: "minigpt-chart-box" },
    ...(heading ? [element("div", { class: "minigpt-chart-title" }, heading)] : []), canvas);

  function draw({ width, height, label, x, y, lines, levels = [] }) {
    const right = width - MARGIN.right, bottom = height - MARGIN.bottom;
    const toX = (value) => MARGIN.left + (right - MARGIN.left) * placeOf(value, x.range);
    const toY = (value) => bottom - (bottom - MARGIN.top) * placeOf(value, y.range, y.log);
    const parts = [];
    for (const [value, text] of y.ticks)
      parts.push(
        svg("line", { class: "minigpt-grid", x1: MARGIN.left, x2: right, y1: toY(value), y2: toY(value) }),
        svg("text", { class: "minigpt-tick-y", x: MARGIN.left - 6, y: toY(value) + 5 }, text));
    for (const [value, text] of x.ticks)
      parts.push(svg("text", { class: "minigpt-tick-x", x: toX(value), y: bottom + 18 }, text));
    parts.push(
      svg("text", { class: "minigpt-tick-x", x: (MARGIN.left + right) / 2, y: height - 6 }, x.label),
      svg("text", { class: "minigpt-tick-x",
        transform: `translate(14 ${(MARGIN.top + bottom) / 2}) rotate(-90)` }, y.label));
    for (const { value, dash = "2 4", text = "" } of levels)   // first: no word hides a curve
      parts.push(
        svg("line", { class: "minigpt-level", "stroke-dasharray": dash,
          x1: MARGIN.left, x2: right, y1: toY(value), y2: toY(value) }),
        svg("text", { class: "minigpt-level-name", x: right, y: toY(value) - 5 }, text));
    for (const { points, look, dots, name = look } of lines) {
      const places = points.map(([a, b]) => [toX(a).toFixed(2), toY(b).toFixed(2)]);
      parts.push(svg("polyline", { class: look, "data-testid": name,
        points: places.map((p) => p.join(",")).join(" ") }));
      if (dots)
        for (const [cx, cy] of places) parts.push(svg("circle", { class: look, cx, cy, r: 4.5 }));
    }
    canvas.setAttribute("width", width);
    canvas.setAttribute("height", height);
    canvas.setAttribute("aria-label", label);
    canvas.replaceChildren(...parts);
  }
  return { node, draw };
}
