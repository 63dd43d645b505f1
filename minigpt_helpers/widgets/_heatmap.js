// A square map of numbers, one row and one column a character, drawn on a canvas.
import { element, glyph, inkOn, setText, shade } from "./_base.js";

const EDGE = 24;      // room for the characters at the left and above
const LEAST = 170;    // side of a map
const LEGEND = 42;    // room for the colour scale below

// `label` names the map. `pick(row, column)` is called by click and arrow keys,
// `hover(row, column)` by the mouse, with nulls when it leaves. The selected place comes with each `draw`.
export function heatMap({ testid, label, pick, hover, style }) {
  const title = element("div", { class: "minigpt-map-title" });
  const canvas = element("canvas", { tabindex: "0", role: "application", "data-testid": testid,
    "aria-roledescription": "map", "aria-label": `${label}. Arrow keys move the selected cell.` });
  const paint = canvas.getContext("2d");
  const pixels = document.createElement("canvas");
  let shown = { count: 0, side: 0, row: 0, column: 0 };

  const cellAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - EDGE) * shown.count / shown.side);
    const row = Math.floor((event.clientY - box.top - EDGE) * shown.count / shown.side);
    const inside = (place) => place >= 0 && place < shown.count;
    return inside(row) && inside(column) ? [row, column] : [null, null];
  };
  canvas.onpointermove = (event) => hover(...cellAt(event));
  canvas.onpointerleave = () => hover(null, null);
  canvas.onclick = (event) => {
    const [row, column] = cellAt(event);
    if (row !== null) pick(row, column);
  };
  canvas.onkeydown = (event) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
      Home: [0, -shown.count], End: [0, shown.count] };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const [down, right] = moves[event.key];
    hover(null, null);   // the keys speak now, wherever the mouse was left
    const clamp = (place) => Math.min(Math.max(place, 0), shown.count - 1);
    pick(clamp(shown.row + down), clamp(shown.column + right));
  };

  // values: count * count numbers. colour(value) -> [r, g, b]. hidden(row, column): hatch the cell.
  // text(value, room) -> the number for a cell `room` pixels wide; `blank` stands in hidden cells.
  // ticks of the colour scale: [place 0..1, text] pairs.
  function draw({ heading, side, tokens, values, colour, ticks, hidden, text, blank, row,
    column }) {
    const count = tokens.length;
    const cell = side / count;
    shown = { count, side, row, column };
    setText(title, heading);
    const ratio = window.devicePixelRatio || 1;
    const width = EDGE + side + 4, height = EDGE + side + LEGEND;
    const across = Math.round(width * ratio), down = Math.round(height * ratio);
    if (canvas.width !== across || canvas.height !== down) {
      canvas.width = across;
      canvas.height = down;
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    paint.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint.clearRect(0, 0, width, height);

    // cells: one pixel each, then enlarged
    if (pixels.width !== count) pixels.width = pixels.height = count;
    const small = pixels.getContext("2d");
    const image = small.createImageData(count, count);
    for (let i = 0, at = 0; i < count; i++) {
      for (let j = 0; j < count; j++, at++) {
        if (hidden(i, j)) continue;
        const [red, green, blue] = colour(values[at]);
        image.data.set([red, green, blue, 255], 4 * at);
      }
    }
    small.putImageData(image, 0, 0);
    paint.imageSmoothingEnabled = false;
    paint.drawImage(pixels, EDGE, EDGE, side, side);

    // hidden cells: hatched, in runs
    const ink = style("color");
    paint.fillStyle = hatching(paint, ink, Math.max(4, Math.min(8, cell / 2)));
    for (let i = 0; i < count; i++) {
      for (let j = 0; j < count;) {
        let end = j;
        while (end < count && hidden(i, end)) end++;
        if (end > j) paint.fillRect(EDGE + j * cell, EDGE + i * cell, (end - j) * cell, cell);
        j = end + 1;
      }
    }

    // numbers, where they fit
    const family = style("font-family");
    paint.textAlign = "center";
    paint.textBaseline = "middle";
    if (cell >= 30) {
      paint.font = `${cell >= 36 ? 16 : 14}px ${family}`;
      for (let i = 0; i < count; i++) {
        for (let j = 0; j < count; j++) {
          const value = values[i * count + j];
          paint.fillStyle = hidden(i, j) ? ink : inkOn(colour(value));
          paint.fillText(hidden(i, j) ? blank : text(value, cell), EDGE + (j + 0.5) * cell,
            EDGE + (i + 0.5) * cell + 1);
        }
      }
    }

    // both axes: the selected character, and all others or, where they do not fit, positions
    const labels = axisLabels(count, cell);
    const axis = (chosen, place) => {
      for (let i = 0; i < count; i++) {
        const bold = i === chosen;
        const label = bold || labels === "all" ? glyph(tokens[i]) : String(i);
        if (!bold && labels !== "all" && (i % labels !== 0 || Math.abs(i - chosen) * cell < 18))
          continue;
        const size = labels === "all" ? Math.min(16, cell + 1) : 13;
        paint.font = `${bold ? "bold 19px" : `${size}px`} ${family}`;
        paint.fillStyle = bold ? style("--minigpt-orange") : ink;
        paint.fillText(label, ...place(i));
      }
    };
    axis(row, (i) => [EDGE / 2 - 1, EDGE + (i + 0.5) * cell]);
    axis(column, (j) => [EDGE + (j + 0.5) * cell, EDGE / 2 + 1]);

    // the selected row and cell; around small cells, so that their colours stay to be seen
    const grow = cell < 14 ? 2 : 0;
    const outline = (x, y, w, h, stroke) => {
      for (const [line, colourOfLine] of [[grow ? 3 : 4, "#000"], [2, stroke]]) {
        paint.lineWidth = line;
        paint.strokeStyle = colourOfLine;
        paint.strokeRect(x - grow, y - grow, w + 2 * grow, h + 2 * grow);
      }
    };
    outline(EDGE, EDGE + row * cell, side, cell, "#ff9d3b");
    outline(EDGE + column * cell, EDGE + row * cell, cell, cell, "#fff");

    // colour scale
    for (let x = 0; x < side; x++) {
      paint.fillStyle = `rgb(${shade(x / (side - 1)).map(Math.round).join(",")})`;
      paint.fillRect(EDGE + x, EDGE + side + 10, 1, 11);
    }
    paint.font = `15px ${family}`;
    paint.fillStyle = ink;
    for (const [place, label] of ticks) {
      paint.textAlign = place === 0 ? "left" : place === 1 ? "right" : "center";
      paint.fillText(label, EDGE + place * side, EDGE + side + 32);
    }
  }

  return { node: element("div", { class: "minigpt-map" }, title, canvas), draw };
}

// What stands at the rows and columns of a map: "all" characters, or the position of every `n`-th.
// Every second letter of a text would look like another text.
export function axisLabels(count, cell) {
  if (cell >= 11) return "all";
  return [5, 10, 20, 50].find((n) => n * cell >= 24) ?? count;
}

// The side of maps in `width` pixels: up to `across` beside each other, fewer where they would
// become smaller than `LEAST`.
export function mapSide(width, across, most) {
  const side = (width - 12 * (across - 1)) / across - EDGE - 4;
  if (side < LEAST && across > 1) return mapSide(width, across - 1, most);
  return Math.floor(Math.max(120, Math.min(most, side)));
}

function hatching(paint, ink, gap) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = Math.round(gap);
  const pen = tile.getContext("2d");
  pen.strokeStyle = ink;
  pen.globalAlpha = 0.25;
  pen.beginPath();
  for (const shift of [-gap, 0, gap]) {
    pen.moveTo(shift - 1, gap + 1);
    pen.lineTo(shift + gap + 1, -1);
  }
  pen.stroke();
  return paint.createPattern(tile, "repeat");
}
