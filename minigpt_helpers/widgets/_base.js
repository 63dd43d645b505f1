// What every widget shares: a frame that redraws, labelled controls bound to traits, colours.

// ---- numbers and words ----------------------------------------------------------------------

const GLYPHS = { " ": "␣", "\n": "↵", "\t": "⇥" };
const SPOKEN = { " ": "space", "\n": "line break", "\t": "tab" };

// What is shown for a character: itself, or something that can be seen. The same as `visible` in
// plots.py.
export function glyph(character) {
  if (/[\u0300-\u036f]/.test(character)) return `\u25cc${character}`;
  return GLYPHS[character] ?? (/[\p{C}\p{Z}]/u.test(character) ? "\u25a1" : character);
}

export function inWords(character) {
  return SPOKEN[character] ?? `"${character}"`;
}

// The float64 numbers that Python sent as bytes.
export function floats(view) {
  return new Float64Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

// Softmax of values[start .. start + count), written to out at the same place. -Infinity gives 0.
export function softmaxInto(out, values, start, count) {
  let largest = -Infinity;
  for (let j = start; j < start + count; j++) largest = Math.max(largest, values[j]);
  let total = 0;
  for (let j = start; j < start + count; j++) total += out[j] = Math.exp(values[j] - largest);
  for (let j = start; j < start + count; j++) out[j] /= total;
}

// ---- colours --------------------------------------------------------------------------------

// Nine evenly spaced colours of the cividis map; `shade` interpolates between them.
export const CIVIDIS = ["#00224e", "#1a386f", "#434e6c", "#61656f", "#7d7c78", "#9b9476",
  "#bcae6c", "#dec958", "#fee838"].map(parseColour);

function parseColour(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

// The colour at `x` in 0..1, as [red, green, blue] in 0..255.
export function shade(x) {
  const place = Math.min(Math.max(x, 0), 1) * (CIVIDIS.length - 1);
  const below = Math.min(Math.floor(place), CIVIDIS.length - 2);
  return CIVIDIS[below].map((part, i) => part + (CIVIDIS[below + 1][i] - part) * (place - below));
}

// Black or white, whichever reads better on the colour.
export function inkOn([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue > 118 ? "#000" : "#fff";
}

// ---- elements and controls ------------------------------------------------------------------

// An element; attributes as in HTML, functions as listeners (`onclick`), children behind.
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node[name] = value;
    else if (value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const setText = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};
export { setText };

// Change traits here and in the kernel. Redrawing follows from the model's change event.
export function change(model, values) {
  for (const [name, value] of Object.entries(values)) model.set(name, value);
  model.save_changes();
}

function labelled(name, label, input, ...rest) {
  input.id = `minigpt-${Math.random().toString(36).slice(2)}`;
  input.dataset.testid = name;
  return element("div", { class: "minigpt-control" },
    element("label", { for: input.id }, label), input, ...rest);
}

// Keep an input in step with a trait: `show` writes the trait's value into the input.
function follow(model, names, show) {
  for (const name of names) model.on(`change:${name}`, show);
  show();
}

// A slider on a number trait. `max` may be a function; `also()` gives traits to set with it.
export function slider(model, name, { label, min, max, step = 1, format = String, depends = [],
  also = () => ({}) }) {
  const output = element("output", { "data-testid": `${name}-value` });
  const input = element("input", { type: "range", min, step });
  input.oninput = () => change(model, { [name]: Number(input.value), ...also() });
  follow(model, [name, ...depends], () => {
    input.max = typeof max === "function" ? max() : max;
    input.value = model.get(name);
    setText(output, format(model.get(name)));
    input.setAttribute("aria-valuetext", output.textContent);
  });
  return labelled(name, label, input, output);
}

export function checkbox(model, name, { label }) {
  const input = element("input", { type: "checkbox" });
  input.onchange = () => change(model, { [name]: input.checked });
  follow(model, [name], () => { input.checked = model.get(name); });
  return labelled(name, label, input);
}

// A choice among `options()`: pairs of value and text. With one option it stands still.
export function choice(model, name, { label, options, depends = [] }) {
  const input = element("select");
  input.onchange = () => change(model, { [name]: options()[input.selectedIndex][0] });
  follow(model, [name, ...depends], () => {
    const pairs = options();
    const there = [...input.options].map((option) => option.text);
    if (pairs.map((pair) => pair[1]).join("\n") !== there.join("\n"))
      input.replaceChildren(...pairs.map((pair) => element("option", {}, pair[1])));
    input.selectedIndex = pairs.findIndex((pair) => pair[0] === model.get(name));
    input.disabled = pairs.length < 2;
  });
  return labelled(name, label, input);
}

export function textBox(model, name, { label, also = () => ({}) }) {
  const input = element("input", { type: "text", spellcheck: "false", autocomplete: "off" });
  input.oninput = () => change(model, { [name]: input.value, ...also() });
  follow(model, [name], () => {
    if (input.value !== model.get(name)) input.value = model.get(name);
  });
  return labelled(name, label, input);
}

export function button(name, text, onclick) {
  return element("button", { type: "button", "data-testid": name, onclick }, text);
}

// ---- the frame ------------------------------------------------------------------------------

// `build({ model, controls, picture, say, redraw, style })` fills the two empty elements and
// returns `draw(width)`. It is called in an animation frame, once, however many traits changed.
export function widget(name, build) {
  return {
    render({ model, el }) {
      const controls = element("div", { class: "minigpt-controls", role: "group",
        "aria-label": `${name}: controls` });
      const message = element("p", { class: "minigpt-message", role: "status",
        "data-testid": "message" });
      const picture = element("div", { class: "minigpt-picture" });
      const line = element("p", { class: "minigpt-line", "aria-live": "polite",
        "data-testid": "line" });
      const root = element("div", { class: `minigpt-live minigpt-${name}`, role: "group",
        "aria-label": name, "data-testid": name }, controls, message, picture, line);

      // A notebook takes arrow keys and letters as its own commands unless they stop here.
      // JupyterLab sees a key after the widget, Notebook 7 before it: there only an attribute of the
      // element with the focus helps. Ctrl and Cmd combinations (save, run) go on.
      const isOurs = (event) => !event.ctrlKey && !event.metaKey;
      root.onkeydown = (event) => { if (isOurs(event)) event.stopPropagation(); };
      const guard = (event) => {
        if (root.contains(event.target))
          event.target.toggleAttribute("data-lm-suppress-shortcuts", isOurs(event));
      };
      window.addEventListener("keydown", guard, { capture: true });

      let frame = 0, width = 0;
      const redraw = () => {
        frame ||= requestAnimationFrame(() => {
          frame = 0;
          width = picture.clientWidth || width;   // hidden for a moment: draw as before
          if (width === 0) return;                // not in the page yet: the resize will call again
          const problem = model.get("problem");
          setText(message, problem || model.get("note"));
          message.classList.toggle("minigpt-problem", problem !== "");
          picture.classList.toggle("minigpt-stale", problem !== "");
          draw(width);
        });
      };
      const style = (property) => getComputedStyle(root).getPropertyValue(property);
      const say = (text) => setText(line, text);
      const draw = build({ model, controls, picture, say, redraw, style });

      model.on("change", redraw);
      const resized = new ResizeObserver(redraw);
      resized.observe(root);
      const themed = new MutationObserver(redraw);   // canvases hold colours: draw them anew
      themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
      el.append(root);
      redraw();
      return () => {
        window.removeEventListener("keydown", guard, { capture: true });
        cancelAnimationFrame(frame);
        resized.disconnect();
        themed.disconnect();
      };
    },
  };
}
