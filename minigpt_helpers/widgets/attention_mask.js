// Scores -> masked scores -> weights, for the query and key positions of one attention head.
import { change, checkbox, choice, element, floats, glyph, inWords, setText,
  shade, slider, softmaxInto, textBox, widget } from "./_base.js";
import { heatMap, mapSide } from "./_heatmap.js";
import { numbered, pairInWords, weightLook } from "./_attention.js";

// The same as `mask_state` in attention_mask.py. scores: count * count raw dot products.
export function maskState(raw, count, { headDim, causal, scale, temperature }) {
  const scores = raw.map((score) => (scale ? score / Math.sqrt(headDim) : score));
  const masked = scores.slice();
  const logits = new Float64Array(count * count);
  const weights = new Float64Array(count * count);
  for (let i = 0; i < count; i++) {
    let largest = -Infinity;
    for (let j = 0; j < count; j++) {
      if (causal && j > i) masked[i * count + j] = -Infinity;
      largest = Math.max(largest, masked[i * count + j]);
    }
    for (let j = 0; j < count; j++)
      logits[i * count + j] = (masked[i * count + j] - largest) / temperature;
    softmaxInto(weights, logits, i * count, count);
  }
  return { scores, masked, weights };
}

// The upper left `length` by `length` corner of one layer's and head's map. Attention only looks
// back, so it holds what the model computes for the first `length` characters alone.
export function corner(all, [, heads], count, layer, head, length) {
  const start = (layer * heads + head) * count * count;
  const part = new Float64Array(length * length);
  for (let i = 0; i < length; i++)
    part.set(all.subarray(start + i * count, start + i * count + length), i * length);
  return part;
}

const withoutMinusZero = (text) => text.replace(/^-(0(\.0)?)$/, "$1");

function build({ model, controls, picture, say, redraw, style }) {
  const get = (name) => model.get(name);
  const ofModel = get("sources").length < 2 ? [] : [
    choice(model, "weights", { label: "weights", depends: ["sources"],
      options: () => get("sources").map((source) => [source, source]) }),
    choice(model, "layer", { label: "layer", depends: ["shape"],
      options: () => numbered(get("shape")[0]) }),
    choice(model, "head", { label: "head", depends: ["shape"],
      options: () => numbered(get("shape")[1]) }),
  ];
  controls.append(
    textBox(model, "text", { label: "text" }),
    slider(model, "length", { label: "length", min: 1, max: () => get("tokens").length,
      depends: ["tokens"] }),
    ...ofModel,
    checkbox(model, "causal", { label: "causal mask" }),
    checkbox(model, "scale", { label: "divide by √d" }),
    slider(model, "temperature", { label: "temperature", min: 0.1, max: 4, step: 0.1,
      format: (value) => value.toFixed(1) }),
  );

  let hovered = [null, null];
  const pick = (row, column) => change(model, { row, column });
  const hover = (row, column) => {
    hovered = [row, column];
    redraw();
  };
  const map = (testid, label) => heatMap({ testid, label, pick, hover, style });
  const maps = {
    scores: map("map-scores", "Scores"),
    masked: map("map-masked", "Masked scores"),
    weights: map("map-weights", "Weights after softmax"),
  };
  const rowTitle = element("span", { class: "minigpt-strip-title" });
  const rowList = element("ol", { class: "minigpt-strip", tabindex: "0",
    "data-testid": "row-weights" });
  picture.append(
    element("div", { class: "minigpt-maps" }, maps.scores.node, maps.masked.node,
      maps.weights.node),
    element("div", { class: "minigpt-strip-row" }, rowTitle, rowList),
  );

  function drawRow(tokens, weights, row, column) {
    setText(rowTitle, `${inWords(tokens[row])} (position ${row}) looks at`);
    rowList.setAttribute("aria-label", `weights of ${inWords(tokens[row])} (position ${row})`);
    while (rowList.children.length > tokens.length) rowList.lastChild.remove();
    while (rowList.children.length < tokens.length)
      rowList.append(element("li", {}, element("b"), element("span")));
    tokens.forEach((token, j) => {
      const weight = weights[row * tokens.length + j];
      const item = rowList.children[j];
      setText(item.firstChild, glyph(token));
      setText(item.lastChild, weight.toFixed(3).replace(/^0/, ""));
      item.dataset.weight = weight;
      item.style.setProperty("--weight", weight);
      item.classList.toggle("minigpt-chosen", j === column);
    });
    const chosen = rowList.children[column];
    const hiddenLeft = chosen.offsetLeft < rowList.scrollLeft;
    const hiddenRight =
      chosen.offsetLeft + chosen.offsetWidth > rowList.scrollLeft + rowList.clientWidth;
    if (hiddenLeft || hiddenRight)
      rowList.scrollLeft = chosen.offsetLeft - rowList.clientWidth / 2;
  }

  return function draw(width) {
    const tokens = get("tokens").slice(0, get("length"));
    const count = tokens.length;
    if (count === 0) return;
    const { causal, scale, temperature, head_dim: headDim } = Object.fromEntries(
      ["causal", "scale", "temperature", "head_dim"].map((name) => [name, get(name)]));
    const raw = corner(floats(get("scores")), get("shape"), get("tokens").length, get("layer"),
      get("head"), count);
    const state = maskState(raw, count, { headDim, causal, scale, temperature });
    const row = Math.min(get("row"), count - 1);
    const column = Math.min(get("column"), count - 1);

    const low = Math.min(...state.scores), high = Math.max(...state.scores);
    const spread = high - low || 1;
    const ofScores = {
      colour: (value) => shade((value - low) / spread),
      ticks: [[0, low.toFixed(1)], [0.5, ((low + high) / 2).toFixed(1)], [1, high.toFixed(1)]],
      text: (value) => withoutMinusZero(value.toFixed(Math.abs(value) >= 9.95 ? 0 : 1)),
    };
    const common = { tokens, row, column, side: mapSide(width, 3, 300) };
    const future = (i, j) => causal && j > i;
    maps.scores.draw({ ...common, ...ofScores, values: state.scores, hidden: () => false,
      heading: scale ? `scores: q·k ÷ √${headDim}` : "scores: q·k" });
    maps.masked.draw({ ...common, ...ofScores, values: state.masked, hidden: future, blank: "−∞",
      heading: causal ? "masked: no future" : "masked: nothing" });
    maps.weights.draw({ ...common, ...weightLook, values: state.weights, hidden: future, blank: "0",
      heading: `weights: softmax${temperature === 1 ? "" : `(· ÷ ${temperature.toFixed(1)})`}` });
    drawRow(tokens, state.weights, row, column);

    const [i, j] = hovered[0] !== null && hovered[0] < count && hovered[1] < count
      ? hovered : [row, column];
    say(pairInWords(tokens, state.weights, i, j, causal));
  };
}

export default widget("AttentionMaskExplorer", build);
