// Text as coloured tokens with their ids, and the way back from the ids to the text.
import { change, element, glyph, inWords, setText, slider, widget } from "./_base.js";

const LONGEST = 400;
const UNKNOWN = -1;
// PALE in plots.py. Neighbouring ids differ, and no colour is more than another: ids are names.
const PALE = ["#cfe3f3", "#fbdcc4", "#cfeadf", "#f3dcea", "#ded8ea", "#d8eefa"];

// The same as `merged` in token_explorer.py. [...text] splits at code points, as Python does.
export function merged(text, pairs, merges) {
  let tokens = [...text];
  for (const [left, right] of pairs.slice(0, merges)) {
    const joined = [];
    for (let i = 0; i < tokens.length; i++)
      joined.push(tokens[i] === left && tokens[i + 1] === right ? left + tokens[++i] : tokens[i]);
    tokens = joined;
  }
  return tokens;
}

// The same as `vocabulary` in token_explorer.py.
export function vocabulary(chars, pairs, merges) {
  return [...new Set([...chars, ...pairs.slice(0, merges).map((pair) => pair.join(""))])];
}

// The same as `token_state` in token_explorer.py; `text` is a text or a list of tokens.
export function tokenState(text, chars) {
  const toId = new Map(chars.map((char, i) => [char, i]));
  const letters = [...text];
  const ids = letters.map((char) => toId.get(char) ?? UNKNOWN);
  return {
    ids,
    codes: letters.map((char) => char.codePointAt(0)),
    distinct: new Set(letters).size,
    unknown: ids.filter((id) => id === UNKNOWN).length,
    decoded: ids.map((id) => (id === UNKNOWN ? "\ufffd" : chars[id])).join(""),
  };
}

const seen = (token) => [...token].map(glyph).join("");
const hex = (code) => code.toString(16).toUpperCase().padStart(4, "0");

// The same as `token_in_words` in token_explorer.py.
export function tokenInWords(text, ids, position) {
  const char = [...text][position];
  const length = [...char].length;
  if (length > 1)
    return `token ${position}: "${seen(char)}", id ${ids[position]}, ${length} characters`;
  const code = `code point U+${hex(char.codePointAt(0))} = ${char.codePointAt(0)}`;
  if (ids[position] === UNKNOWN)
    return `position ${position}: ${inWords(char)}, ${code}, is not in the vocabulary: no id`;
  return `position ${position}: ${inWords(char)}, id ${ids[position]}, ${code}`;
}

// The same as `counts_in_words` in token_explorer.py.
export function countsInWords({ ids, distinct, unknown }, vocabSize) {
  return `${ids.length} token${ids.length === 1 ? "" : "s"}, ${distinct} different, `
    + `${unknown} unknown; the vocabulary has ${vocabSize}`;
}

// The same as `round_trip_in_words` in token_explorer.py.
export function roundTripInWords({ unknown }) {
  if (unknown === 0) return "decode(ids) gives back the same text";
  return "none: the tokens marked ? have no id, so encode refuses the text";
}

// The place nearest to item `from` in the row of boxes above (-1) or below (1) it.
function inNextRow(boxes, from, direction) {
  const here = boxes[from];
  const beyond = boxes.filter((box) => (box.offsetTop - here.offsetTop) * direction > 0);
  if (beyond.length === 0) return from;
  const tops = beyond.map((box) => box.offsetTop);
  const top = direction > 0 ? Math.min(...tops) : Math.max(...tops);
  const far = (box) => Math.abs(box.offsetLeft - here.offsetLeft);
  const row = beyond.filter((box) => box.offsetTop === top);
  return boxes.indexOf(row.reduce((best, box) => (far(box) < far(best) ? box : best)));
}

function build({ model, controls, picture, say }) {
  const get = (name) => model.get(name);
  const select = (selected) => change(model, { selected });
  const name = `minigpt-${Math.random().toString(36).slice(2)}`;

  const input = element("textarea", { id: `${name}-text`, spellcheck: "false",
    autocomplete: "off", "data-testid": "text" });
  input.oninput = () => {
    const last = Math.max(0, Math.min([...input.value].length, LONGEST) - 1);
    change(model, { text: input.value, selected: Math.min(get("selected"), last) });
  };
  controls.append(element("label", { for: input.id }, "text"), input);
  if (get("pairs").length)
    controls.append(slider(model, "merges", { label: "merges", min: 0, max: get("pairs").length,
      format: (count) => count === 0 ? "0: characters"
        : `${count}: last "${seen(get("pairs")[count - 1].join(""))}"` }));

  const list = element("div", { class: "minigpt-tokens", role: "listbox", tabindex: "0",
    "data-testid": "tokens", "aria-label": "tokens. Arrow keys select one." });
  const facts = element("dl", { class: "minigpt-token-facts" });
  const fact = (label, testid) => {
    const value = element("dd", { "data-testid": testid });
    facts.append(element("dt", {}, label), value);
    return value;
  };
  const ids = fact("ids", "ids");
  const back = fact("round trip", "round-trip");
  const counts = fact("counts", "counts");
  picture.append(list, facts);

  let boxes = [];
  list.onclick = (event) => {
    const box = event.target.closest(".minigpt-token");
    if (box) select(boxes.indexOf(box));
  };
  list.onkeydown = (event) => {
    const now = get("selected");
    const moves = { ArrowLeft: () => now - 1, ArrowRight: () => now + 1, Home: () => 0,
      End: () => boxes.length - 1, ArrowUp: () => inNextRow(boxes, now, -1),
      ArrowDown: () => inNextRow(boxes, now, 1) };
    if (!(event.key in moves) || boxes.length === 0) return;
    event.preventDefault();
    select(Math.min(Math.max(moves[event.key](), 0), boxes.length - 1));
  };

  // One box for each token; after a line break the next box starts a new row.
  function drawBoxes(letters, state) {
    list.replaceChildren();
    boxes = letters.map((char, i) => {
      const id = state.ids[i];
      const known = id !== UNKNOWN;
      const below = known ? String(id) : `? ${hex(state.codes[i])}`;
      const box = element("div", { class: "minigpt-token", role: "option", id: `${name}-${i}`,
        "aria-label": tokenInWords(letters, state.ids, i), "data-id": id },
        element("b", {}, seen(char)), element("span", {}, below));
      box.classList.toggle("minigpt-unknown", !known);
      if (known) {
        box.style.setProperty("--token-colour", PALE[id % PALE.length]);
        box.style.setProperty("--token-ink", "#1a1a1a");
      }
      list.append(box);
      if (char === "\n") list.append(element("div", { class: "minigpt-line-end", role: "none" }));
      return box;
    });
  }

  let drawn = null;
  return function draw() {
    const text = get("text"), pairs = get("pairs"), merges = get("merges");
    if (input.value !== text) input.value = text;
    const tokens = merged(text, pairs, merges), chars = vocabulary(get("chars"), pairs, merges);
    const letters = tokens.slice(0, LONGEST);
    const state = tokenState(tokens, chars);
    if (drawn !== `${merges} ${text}`) {
      drawBoxes(letters, state);
      setText(ids, `[${state.ids.map((id) => (id === UNKNOWN ? "?" : id)).join(", ")}]`);
      setText(back, roundTripInWords(state)
        + (state.unknown ? "" : `: ${JSON.stringify(state.decoded)}`));
      setText(counts, countsInWords(state, chars.length));
      drawn = `${merges} ${text}`;
    }
    const selected = Math.min(get("selected"), boxes.length - 1);
    boxes.forEach((box, i) => {
      box.classList.toggle("minigpt-chosen", i === selected);
      box.setAttribute("aria-selected", String(i === selected));
    });
    if (selected < 0) return say("");
    list.setAttribute("aria-activedescendant", boxes[selected].id);
    const { offsetTop, offsetHeight } = boxes[selected];
    if (offsetTop < list.scrollTop || offsetTop + offsetHeight > list.scrollTop + list.clientHeight)
      list.scrollTop = offsetTop - list.clientHeight / 2;
    say(tokenInWords(tokens, state.ids, selected));
  };
}

export default widget("TokenExplorer", build);
