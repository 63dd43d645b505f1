// Which earlier characters the selected character looks at: arcs over the text, and the whole map.
import { change, choice, element, floats, glyph, inWords, setText, textBox, widget } from
  "./_base.js";
import { heatMap, mapSide } from "./_heatmap.js";
import { numbered, pairInWords, weightLook } from "./_attention.js";

const STRONGEST = 8;
const ARCS = 84;      // height of the arcs
const BOX = 34;       // height of the characters below them

// The same as `viewer_state` in attention_viewer.py. weights: L * H * T * T numbers.
export function viewerState(weights, [, heads], count, layer, head, row) {
  const start = (layer * heads + head) * count * count;
  const map = weights.slice(start, start + count * count);
  const looks = map.slice(row * count, row * count + row + 1);
  const strongest = Array.from(looks.keys()).sort((a, b) => looks[b] - looks[a]);
  return { map, looks, strongest };
}

function svg(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function build({ model, controls, picture, say, redraw, style }) {
  const get = (name) => model.get(name);
  controls.append(
    textBox(model, "text", { label: "text" }),
    choice(model, "layer", { label: "layer", options: () => numbered(get("shape")[0]) }),
    choice(model, "head", { label: "head", options: () => numbered(get("shape")[1]) }),
  );

  let hovered = [null, null];   // in the map: a pair; in the text: a row alone
  const hover = (row, column) => {
    if (hovered[0] === row && hovered[1] === column) return;
    hovered = [row, column];
    redraw();
  };
  const pick = (row, column) => change(model, { row, column });

  const text = svg("svg", { class: "minigpt-text", tabindex: "0", role: "application",
    "data-testid": "text-arcs",
    "aria-label": "The text. Left and right arrow keys select the character that looks." });
  text.onkeydown = (event) => {
    const last = get("tokens").length - 1;
    const row = get("row");
    const to = { ArrowLeft: row - 1, ArrowRight: row + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    hover(null, null);   // the keys speak now, wherever the mouse was left
    change(model, { row: Math.min(Math.max(to, 0), last) });
  };
  const placeOf = (event) => {
    const box = text.getBoundingClientRect();
    const count = get("tokens").length;
    const place = Math.floor((event.clientX - box.left) / boxWidth(box.width, count));
    return event.clientY - box.top > ARCS && place < count ? place : null;
  };
  text.onpointermove = (event) => hover(placeOf(event), null);
  text.onpointerleave = () => hover(null, null);
  text.onclick = (event) => {
    const place = placeOf(event);
    if (place !== null) change(model, { row: place });
  };

  const map = heatMap({ testid: "map", label: "Attention weights", pick, hover, style });
  const listTitle = element("p", { class: "minigpt-list-title" });
  const list = element("ol", { class: "minigpt-list", "data-testid": "strongest" });
  for (let i = 0; i < STRONGEST; i++)
    list.append(element("li", {}, element("b"), element("span"), element("i")));
  picture.append(text, element("div", { class: "minigpt-maps" }, map.node,
    element("div", { class: "minigpt-list-box" }, listTitle, list)));

  function drawText(width, tokens, { looks }, row) {
    const count = tokens.length;
    const step = boxWidth(width, count);
    text.setAttribute("width", width);
    text.setAttribute("height", ARCS + BOX);
    const middle = (place) => (place + 0.5) * step;
    const parts = [];
    looks.forEach((weight, place) => {
      if (place === row || weight < 0.005) return;
      const height = 16 + (ARCS - 20) * (row - place) / row;
      parts.push(svg("path", { class: "minigpt-arc", "stroke-width": 1 + 9 * weight,
        "stroke-opacity": 0.15 + 0.85 * Math.sqrt(weight),
        d: `M ${middle(row)} ${ARCS} C ${middle(row)} ${ARCS - height * 1.3}, `
          + `${middle(place)} ${ARCS - height * 1.3}, ${middle(place)} ${ARCS}` }));
    });
    tokens.forEach((token, place) => {
      const weight = looks[place] ?? 0;
      parts.push(svg("rect", { x: place * step + 0.5, y: ARCS, width: step - 1, height: BOX - 2,
        class: place === row ? "minigpt-query" : "", "data-weight": weight,
        style: `--weight: ${Math.sqrt(weight)}` }));
      const letter = svg("text", { x: middle(place), y: ARCS + 23,
        opacity: place > row ? 0.45 : 1, "font-size": step < 15 ? 15 : 19 });
      letter.textContent = glyph(token);
      parts.push(letter);
    });
    text.replaceChildren(...parts);
  }

  function drawList(tokens, { looks, strongest }, row) {
    setText(listTitle, `${inWords(tokens[row])} (position ${row}) looks most at`);
    Array.from(list.children).forEach((item, rank) => {
      const place = strongest[rank];
      item.hidden = place === undefined;
      if (item.hidden) return;
      setText(item.children[0], looks[place].toFixed(3));
      setText(item.children[1], `${inWords(tokens[place])} (position ${place})`);
      item.children[2].style.transform = `scaleX(${looks[place]})`;
      item.dataset.weight = looks[place];
      item.dataset.place = place;
    });
  }

  return function draw(width) {
    const tokens = get("tokens");
    const count = tokens.length;
    if (count === 0) return;
    const within = (place) => place !== null && place < count;
    const row = within(hovered[0]) ? hovered[0] : Math.min(get("row"), count - 1);
    const state = viewerState(floats(get("weights")), get("shape"), count, get("layer"),
      get("head"), row);
    const column = within(hovered[1]) ? hovered[1]
      : within(hovered[0]) ? state.strongest[0] : Math.min(get("column"), count - 1);
    drawText(width, tokens, state, row);
    map.draw({ ...weightLook, tokens, row, column, side: mapSide(width, 2, 340),
      values: state.map, hidden: (i, j) => j > i, blank: "",
      heading: `layer ${get("layer")}, head ${get("head")}` });
    drawList(tokens, state, row);
    say(pairInWords(tokens, state.map, row, column, true));
  };
}

const boxWidth = (width, count) => Math.min(34, width / count);

export default widget("AttentionViewer", build);
