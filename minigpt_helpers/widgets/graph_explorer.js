// The computation graph of an expression, one step at a time. The kernel works out every number and
// every sentence (`graph_state` in graph_explorer.py); what is here draws them.
import { button, change, element, slider, textBox, widget } from "./_base.js";

const BOX = { width: 124, height: 78 };
const PITCH = { least: 160, most: 210, down: 94 };   // pixels from box to box
const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// The same as `shown_at` in graph_explorer.py.
export function shownAt({ nodes, steps }, step) {
  return nodes.map((node, i) => ({
    value: node.appears <= step ? node.shown : "?",
    grad: node.kind === "number" ? "" : steps[step].grads[i],
    active: steps[step].node === i,
  }));
}

// One number box a leaf. They stay in place while the names do, so that typing is not disturbed.
function leafBoxes(model) {
  const row = element("div", { class: "minigpt-leaves", role: "group", "aria-label": "values" });
  let names = [];
  const inputs = {};
  const typed = (name) => () => {
    const value = inputs[name].value === "" ? null : Number(inputs[name].value);
    change(model, { values: { ...model.get("values"), [name]: value } });
  };
  const follow = () => {
    const { leaves } = model.get("graph");
    if (Object.keys(leaves).join() !== names.join()) {
      names = Object.keys(leaves);
      row.replaceChildren(...names.map((name) => {
        inputs[name] = element("input", { type: "number", step: "any", oninput: typed(name),
          "data-testid": `leaf-${name}` });
        return element("label", { class: "minigpt-control" }, name, inputs[name]);
      }));
    }
    for (const name of names)
      if (inputs[name] !== document.activeElement || inputs[name].value === "")
        inputs[name].value = leaves[name];
  };
  model.on("change:graph", follow);
  follow();
  return row;
}

function build({ model, controls, picture, say }) {
  const lastStep = () => model.get("graph").steps.length - 1;
  const go = (step) => change(model, { step: Math.min(Math.max(step, 0), lastStep()) });
  const move = (by) => go(model.get("step") + by);
  controls.append(
    textBox(model, "expression", { label: "expression" }),
    leafBoxes(model),
    element("div", { class: "minigpt-control" },
      button("start", "start", () => go(0)), button("back", "back", () => move(-1)),
      button("next", "next", () => move(1)), button("end", "end", () => go(lastStep()))),
    slider(model, "step", { label: "step", min: 0, max: lastStep, depends: ["graph"],
      format: (step) => `${step} of ${lastStep()}` }),
  );
  const graphBox = element("div", { class: "minigpt-graph", tabindex: "0", role: "application",
    "aria-roledescription": "graph", "data-testid": "graph" });
  graphBox.onkeydown = (event) => {
    const moves = { ArrowRight: () => move(1), ArrowLeft: () => move(-1), Home: () => go(0),
      End: () => go(lastStep()) };
    if (!(event.key in moves)) return;
    event.preventDefault();
    moves[event.key]();
  };
  picture.append(graphBox);

  return function draw(width) {
    const graph = model.get("graph");
    const { nodes, edges } = graph;
    const step = Math.min(model.get("step"), lastStep());
    const now = graph.steps[step];
    const columns = 1 + Math.max(...nodes.map((node) => node.column));
    const top = Math.min(...nodes.map((node) => node.row));
    const rows = 1 + Math.max(...nodes.map((node) => node.row)) - top;
    const pitch = Math.min(Math.max(width / columns, PITCH.least), PITCH.most);
    const place = ([column, row]) => [(column + 0.5) * pitch, (row - top + 0.5) * PITCH.down];

    const shares = new Map(now.shares);
    const labels = [];
    const lines = edges.map((edge, i) => {
      const points = edge.path.map(place);
      const fan = nodes[edge.child].parents.length - 1;
      points[0][0] += BOX.width / 2;
      points.at(-1)[0] -= BOX.width / 2;
      points.at(-1)[1] += (edge.side - 0.5) * 22 * fan;
      if (shares.has(i)) labels.push(shareLabel(points, shares.get(i)));
      return svg("path", { d: curve(points), class: shares.has(i) ? "minigpt-active" : "" });
    });
    const says = shownAt(graph, step);
    const boxes = nodes.map((node, i) => nodeBox(node, place([node.column, node.row]), says[i]));
    const size = { width: columns * pitch, height: rows * PITCH.down };
    graphBox.replaceChildren(
      svg("svg", { ...size, "aria-hidden": "true" }, ...lines, ...boxes, ...labels));
    graphBox.setAttribute("aria-label", `Computation graph of ${model.get("expression")}, step ` +
      `${step} of ${lastStep()}. Arrow keys left and right step back and forward.`);
    if (now.node >= 0) {
      const [x] = place([nodes[now.node].column, 0]);   // in view also where the graph is too wide
      if (x - pitch / 2 < graphBox.scrollLeft || x + pitch / 2 > graphBox.scrollLeft + width)
        graphBox.scrollLeft = x - width / 2;
    }
    say(now.words);
  };
}

// A line through the points that leaves and arrives level.
function curve([[startX, startY], ...rest]) {
  let path = `M ${startX} ${startY}`, [x, y] = [startX, startY];
  for (const [toX, toY] of rest) {
    const middle = (x + toX) / 2;
    path += ` C ${middle} ${y} ${middle} ${toY} ${toX} ${toY}`;
    [x, y] = [toX, toY];
  }
  return path;
}

// What goes back along a line, written near the node that gets it.
function shareLabel([[x, y], [nextX, nextY]], text) {
  return svg("text", { class: "minigpt-share", x: x + 0.5 * (nextX - x),
    y: y + 0.5 * (nextY - y) + 5 }, text);
}

function nodeBox(node, [x, y], { value, grad, active }) {
  const { width, height } = BOX;
  const line = (name, down, text) =>
    svg("text", { class: `minigpt-node-${name}`, x, y: y + down }, text);
  const classes = [
    node.appears === 0 && "minigpt-leaf", value === "?" && "minigpt-waiting",
    active && "minigpt-active",
  ];
  return svg("g", { class: classes.filter(Boolean).join(" "), "data-node": node.text },
    svg("title", {}, node.text),
    svg("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: 5 }),
    line("title", -18, node.title), line("value", 6, value),
    line("grad", 29, grad && `grad ${grad}`));
}

export default widget("GraphExplorer", build);
