// From an expression to its graph and the steps through it: the same as `graph_state` in
// minigpt_helpers/widgets/graph_explorer.py, `Reader` in _graph_expression.py and `layout` in
// _graph_layout.py. Nothing of the text is run.

const LONGEST = 120, MOST_NODES = 24, LONGEST_NAME = 8;
const KEYWORDS = ("False None True and as assert async await break class continue def del elif else "
  + "except finally for from global if import in is lambda nonlocal not or pass raise return try "
  + "while with yield").split(" ");
const FUNCTIONS = ["tanh", "exp", "relu", "log"];
const ALLOWED = "names, numbers, + - * / **, brackets, .tanh() .exp() .relu() .log()";
const RULES = {
  "+": "A sum hands its gradient on unchanged",
  "-": "A difference hands its gradient on, to the right side with its sign turned",
  "*": "A product hands each side its gradient times the other side",
  "/": "A quotient x / y hands x its gradient times 1/y, and y its gradient times -x/y²",
  "**": "A power x ** n hands on its gradient times n · x ** (n - 1)",
  neg: "A minus sign turns the sign of the gradient",
  tanh: "The slope of tanh is 1 - its value squared",
  exp: "The slope of exp is its own value",
  relu: "The slope of relu is 1 for an input above 0, else 0",
  log: "The slope of log is 1 / its input",
};

// What each operation computes, and its slope for each input x, from the inputs and the value v.
const OPERATIONS = {
  "+": [(x, y) => x + y, () => [1, 1]],
  "-": [(x, y) => x - y, () => [1, -1]],
  "*": [(x, y) => x * y, ([x, y]) => [y, x]],
  "/": [(x, y) => x / y, ([x, y]) => [1 / y, -x / y / y]],
  neg: [(x) => -x, () => [-1]],
  tanh: [Math.tanh, (_, v) => [1 - v * v]],
  exp: [Math.exp, (_, v) => [v]],
  relu: [(x) => x * (x > 0), ([x]) => [x > 0 ? 1 : 0]],
  log: [Math.log, ([x]) => [1 / x]],
};

export class Problem extends Error {}
const refuse = (text) => { throw new Problem(text); };

// ---- numbers as Python writes them ----------------------------------------------------------------

// f"{x:.{digits}f}": a tie goes to the even digit, where toFixed takes the larger.
function fixed(x, digits) {
  const halves = Math.abs(x) * 2 ** (digits + 1);
  if (!Number.isInteger(halves) || halves % 2 === 0) return x.toFixed(digits);
  const below = Math.floor(Math.abs(x) * 10 ** digits);
  return (Math.sign(x) * (below + below % 2) / 10 ** digits).toFixed(digits);
}

const scientific = (text) => text.replace(/e([+-])(\d)$/, "e$10$2");

// The same as `number` in _graph_expression.py.
export function number(value) {
  const size = Math.abs(value);
  const trimmed = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (value === 0) return "0";
  if (size >= 1 && size < 1e4) {
    const text = trimmed(fixed(value, 3 - Math.floor(Math.log10(size))));
    return Math.abs(Number(text)) < 1e4 ? text : text.replace("10000", "1e+04");
  }
  if (size >= 1e-3 && size < 1) return trimmed(fixed(value, 4));
  const unit = 10 ** (Math.floor(Math.log10(size)) - 1), tie = (2 * size) / unit;
  const even = tie % 4 === 1 && (tie / 2) * unit === size ? value - Math.sign(value) * unit / 4 : value;
  return scientific(even.toExponential(1));
}

// repr of a Python float, and of a Tensor that holds one.
function repr(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) return scientific(value.toExponential());
  return Number.isInteger(value) ? `${Object.is(value, -0) ? "-0" : value}.0` : String(value);
}
const tensor = (value) => `Tensor(${repr(value && Number(fixed(value, 4))).replace(/\.0$/, ".")})`;

// ---- reading --------------------------------------------------------------------------------------

const TOKEN = /\s*(?:(\d[\d_]*(?:\.[\d_]*)?(?:[eE][+-]?\d+)?|\.\d[\d_]*(?:[eE][+-]?\d+)?)|([\p{L}_][\p{L}\p{N}_]*)|(\*\*|\/\/|[-+*/%@().=;]))/uy;

// The text as a list of statements, each a tree of { kind, ... } as Python's parser would group it.
function parse(text) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const from = TOKEN.lastIndex, found = TOKEN.exec(text);
    if (!found) cannotRead(from);
    const [, numeral, name, sign] = found;
    if (KEYWORDS.includes(name)) cannotRead(from);
    tokens.push({ numeral, name, sign, at: TOKEN.lastIndex });
  }
  let next = 0;
  const peek = (...signs) => signs.includes(tokens[next]?.sign);
  const take = (...signs) => peek(...signs) && tokens[next++].sign;
  const need = (sign) => take(sign) || cannotRead(tokens[next]?.at ?? text.length);
  function cannotRead(at) {
    refuse(`This cannot be read near character ${at + 1}. Is a bracket or a sign missing?`);
  }

  const binary = (inner, ...signs) => () => {
    let left = inner();
    for (let kind; (kind = take(...signs));) left = { kind, left, right: inner() };
    return left;
  };
  const term = binary(factor, "*", "/", "//", "%", "@"), sum = binary(term, "+", "-");
  function factor() {
    const sign = take("+", "-");
    if (sign) return { kind: sign === "-" ? "neg" : "pos", inner: factor() };
    const base = call();
    return take("**") ? { kind: "**", left: base, right: factor() } : base;
  }
  function call() {
    let tree = atom();
    while (take(".")) {
      const { name } = tokens[next++] ?? {};
      if (!name) cannotRead(tokens[next - 1]?.at ?? text.length);
      tree = { kind: "call", inner: tree, name, method: true, plain: take("(") && need(")") };
    }
    return tree;
  }
  function atom() {
    const { numeral, name, sign, at } = tokens[next++] ?? { at: text.length };
    if (numeral) {
      const digits = numeral.replaceAll("_", ""), value = Number(digits), whole = /^\d+$/.test(digits);
      return { kind: "number", value, whole, text: whole ? String(BigInt(digits)) : repr(value) };
    }
    if (name && take("(")) {
      const inner = sum();
      need(")");
      return { kind: "call", inner, name, plain: true };
    }
    if (name) return { kind: "name", name };
    if (sign !== "(") cannotRead(at);
    const inner = sum();
    need(")");
    return inner;
  }

  const statements = [];
  while (next < tokens.length) {
    const tree = sum();
    statements.push(take("=") ? { kind: "=", target: tree, inner: sum() } : tree);
    if (next < tokens.length) need(";");
  }
  return statements;
}

// The tree as Python's ast.unparse writes it.
const STRENGTH = { "+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "%": 2, "@": 2, neg: 3, pos: 3, "**": 4 };
function written(tree, least = 0) {
  const { kind, inner, left, right, name } = tree, own = STRENGTH[kind];
  const text = kind === "number" ? tree.text : kind === "name" ? name
    : kind === "=" ? `${written(tree.target)} = ${written(inner)}`
    : kind === "call" && !tree.method ? `${name}(${written(inner)})`
    : kind === "call" ? `${written(inner, 9)}${inner.whole ? " " : ""}.${name}${tree.plain ? "()" : ""}`
    : left ? `${written(left, own + (kind === "**"))} ${kind} ${written(right, own + (kind !== "**"))}`
    : `${kind === "neg" ? "-" : "+"}${written(inner, own)}`;
  return own < least ? `(${text})` : text;
}

const said = (tree) => {
  const text = written(tree);
  return text.length <= 30 ? text : `${text.slice(0, 27)}...`;
};

// A number, perhaps with a sign; undefined for all else.
const plainNumber = ({ kind, inner, value }) =>
  (kind === "number" ? value : kind === "neg" && inner.kind === "number" ? -inner.value : undefined);

class Reader {
  constructor(values) {
    Object.assign(this, { values, nodes: [], names: new Map(), leaves: {} });
  }

  read(expression) {
    if (!expression.trim()) refuse("The expression is empty. Try (a*b + c).tanh()");
    if ([...expression].length > LONGEST)
      refuse(`The expression has ${[...expression].length} characters; ${LONGEST} fit.`);
    const statements = parse(expression.trim()), last = statements.pop();
    for (const statement of statements) {
      if (statement.kind !== "=" || statement.target.kind !== "name")
        refuse(`${said(statement)} stands before a ; and must be: name = expression`);
      this.name(statement.target.name, this.visit(statement.inner));
    }
    if (last.kind === "=")
      refuse(`${said(last)} has no result. End with the expression to explore.`);
    const used = new Set([this.visit(last)]);
    for (const index of used) this.nodes[index].parents.forEach((parent) => used.add(parent));
    for (const [name, index] of this.names)
      if (!used.has(index)) refuse(`${name} is never used. Use it in the last expression.`);
    return this.nodes;
  }

  name(name, index) {
    if (this.names.has(name)) refuse(`${name} has a meaning already. Choose another name before the =.`);
    checkName(name);
    this.names.set(name, index);
    const node = this.nodes[index], both = `${name} = ${node.title}`;
    if (!isInput(node)) Object.assign(node, { title: both.length <= 11 ? both : name, text: name });
  }

  visit(tree) {
    const { kind, inner, left, right, name } = tree, value = plainNumber(tree);
    if (value !== undefined) return this.number(value);
    if (kind === "name") return this.names.get(name) ?? this.leaf(name);
    if (kind === "pos") return this.visit(inner);
    if (kind === "neg") return this.apply("neg", "-x", tree, inner);
    if (kind === "**") {
      const power = plainNumber(right);
      if (power === undefined) refuse(`The exponent ${said(right)} must be a plain number, as in a**2`);
      return this.apply("**", `** ${number(finite(power))}`, tree, left);
    }
    if (kind in OPERATIONS && left) return this.apply(kind, kind, tree, left, right);
    if (kind === "call" && tree.plain && FUNCTIONS.includes(name))
      return this.apply(name, name, tree, inner);
    return refuse(`${said(tree)} is not something that the graph can show. Use ${ALLOWED}`);
  }

  number(value) {
    return this.add({ kind: "number", title: "", text: number(finite(value)), value, parents: [] });
  }

  leaf(name) {
    checkName(name);
    const value = name in this.values ? this.values[name] : 1;
    if (typeof value !== "number" || Number.isNaN(value)) refuse(`${name} has no value. Type a number.`);
    this.leaves[name] = finite(value);
    this.names.set(name, this.add({ kind: "leaf", title: name, text: name, value, parents: [] }));
    return this.names.get(name);
  }

  apply(kind, title, tree, ...inputs) {
    const parents = inputs.map((input) => this.visit(input)), text = written(tree);
    const x = parents.map((parent) => this.nodes[parent].value);
    const power = kind === "**" && plainNumber(tree.right);
    const wrong = kind === "/" && x[1] === 0 ? `division by zero: ${tensor(x[0])} / ${tensor(x[1])}`
      : kind === "log" && x[0] < 0 ? `log needs numbers above 0, but got ${repr(x[0])}`
      : kind === "**" && ((x[0] < 0 && power % 1 !== 0) || (x[0] === 0 && power < 0))
        ? `${repr(x[0])} ** ${repr(power)} is not a real number` : "";
    if (wrong) refuse(`${text}: ${wrong}`);
    const [compute, slope] = OPERATIONS[kind]
      ?? [(base) => base ** power, ([base]) => [power * base ** (power && power - 1)]];
    const value = compute(...x), slopes = slope(x, value);
    if (![value, ...slopes].every(Number.isFinite))
      refuse(`${text} or its slope is infinite here. Choose other values.`);
    return this.add({ kind, title, text, value, parents, slopes });
  }

  add(node) {
    if (this.nodes.length === MOST_NODES)
      refuse(`The expression has more than ${MOST_NODES} nodes. Try a shorter one.`);
    return this.nodes.push({ slopes: [], ...node }) - 1;
  }
}

const isInput = ({ kind }) => kind === "leaf" || kind === "number";

function finite(value) {
  return Number.isFinite(value) ? value : refuse("A number in the expression is too large.");
}

function checkName(name) {
  if ([...name].length > LONGEST_NAME)
    refuse(`The name ${[...name].slice(0, 20).join("")} is too long: ${LONGEST_NAME} characters fit.`);
}

// ---- the steps ------------------------------------------------------------------------------------

export function graphState(expression, values = {}) {
  const reader = new Reader(values), nodes = reader.read(expression);
  const [places, pathOf] = layout(nodes.map((node) => node.parents));
  const made = nodes.flatMap((node, i) => (isInput(node) ? [] : [i]));
  const edges = nodes.flatMap(({ parents }, child) => parents.map((parent, side) =>
    ({ parent, child, side, path: pathOf(parent, child) })));
  const [grads, backward] = backwardSteps(nodes, edges);
  const none = nodes.map(() => "");
  const steps = [
    step("start", -1, none, [],
      "Start: the leaves have their values. Forward, every other node works out its own."),
    ...made.map((i) => step("forward", i, none, [], forwardWords(nodes, nodes[i]))),
    ...backward,
  ];
  return {
    nodes: nodes.map(({ kind, title, text, value, parents, slopes }, i) => ({
      kind, title, text, value, shown: number(value), grad: grads[i], parents, slopes,
      appears: made.indexOf(i) + 1, column: places[i][0], row: places[i][1],
    })),
    edges, steps, leaves: reader.leaves,
  };
}

const step = (phase, node, grads, shares, words) => ({ phase, node, grads, shares, words });
const factor = (value) => (value < 0 ? `(${number(value)})` : number(value));

function forwardWords(nodes, { kind, title, text, value, parents }) {
  const [first, second] = parents.map((parent) => nodes[parent].value);
  const done = second !== undefined ? `${number(first)} ${kind} ${factor(second)}`
    : FUNCTIONS.includes(kind) ? `${kind}(${number(first)})`
    : kind === "neg" ? `-${factor(first)}` : `${factor(first)} ${title}`;
  return `Forward: ${text} is ${done} = ${number(value)}.`;
}

// The gradients, and the steps that find them: last node first, each hands on its shares.
function backwardSteps(nodes, edges) {
  const grads = nodes.map(() => null);
  const texts = () => grads.map((grad) => (grad === null ? "" : number(grad)));
  grads[nodes.length - 1] = 1;
  const steps = [step("backward", nodes.length - 1, texts(), [],
    "Backward starts at the result: move it by 1, and it moves by 1. Its gradient is 1.")];
  for (let i = nodes.length - 1; i >= 0; i--) {
    if (isInput(nodes[i])) continue;
    const shares = [], said = [];
    edges.forEach(({ parent, child, side }, edge) => {
      if (child !== i || nodes[parent].kind === "number") return;
      const slope = nodes[i].slopes[side], before = grads[parent], share = slope * grads[i];
      const handed = number(grads[i]);
      grads[parent] = before === null ? share : before + share;
      shares.push([edge, number(share)]);
      said.push(`${nodes[parent].text} gets ${handed} · ${factor(slope)} = ${number(share)}`
        + (before === null ? "" : `, added to its ${number(before)}: ${number(grads[parent])}`));
    });
    const words = said.join("; ") || "only fixed numbers stand there";
    steps.push(step("backward", i, texts(), shares,
      `Backward through ${nodes[i].text}. ${RULES[nodes[i].kind]}: ${words}.`));
  }
  return [grads, steps];
}

// ---- the layout -----------------------------------------------------------------------------------

// A [column, row] for each node, and for each (parent, child) the places its line runs through. An
// item is a node's index, or "parent,column" where a line passes a column.
function layout(parents) {
  const column = new Map(columns(parents).entries()), lines = new Map();
  for (let child = parents.length - 1; child >= 0; child--) {
    for (const parent of parents[child]) {
      const bends = [];
      for (let c = column.get(parent) + 1; c < column.get(child); c++) {
        bends.push(`${parent},${c}`);
        column.set(bends.at(-1), c);
      }
      lines.set(`${parent},${child}`, [parent, ...bends, child]);
    }
  }
  const row = rows(column, [...lines.values()], parents);
  const middle = (Math.min(...row.values()) + Math.max(...row.values())) / 2;
  const place = (item) => [column.get(item), Number(fixed(row.get(item) - middle, 3))];
  return [parents.map((_, i) => place(i)), (...ends) => lines.get(String(ends)).map(place)];
}

function rows(column, lines, parents) {
  const boxes = new Map([...new Set(column.values())].sort((a, b) => a - b).map((c) => [c, []]));
  const inOrder = lines.flatMap((line) => [...line].reverse());
  for (const item of new Set(inOrder.length ? inOrder : column.keys()))
    boxes.get(column.get(item)).push(item);
  const [left, right] = [0, 1].map(() => new Map([...column.keys()].map((item) => [item, new Map()])));
  const note = (side, item, beside, port) => side.get(item).set(`${beside}|${port}`, [beside, port]);
  for (const line of lines) {
    line.slice(1).forEach((other, i) => {
      const one = line[i], sides = typeof other === "number" ? parents[other] : [one];
      note(left, other, one, 0);
      note(right, one, other, 0.1 * (sides.length > 1 ? sides.indexOf(line[0]) : 0));
    });
  }
  const row = new Map();
  for (const items of boxes.values()) items.forEach((item, i) => row.set(item, i));
  for (let sweep = 0; sweep < 9; sweep++) {
    const order = [...boxes.keys()];
    if (sweep % 2 === 0) order.reverse();
    for (const c of order) {
      const wanted = new Map();
      for (const item of boxes.get(c)) {
        const beside = sweep < 6
          ? [...[right, left][sweep % 2].get(item).values()].map(([n, port]) => row.get(n) + port)
          : [...new Map([...right.get(item), ...left.get(item)]).values()].map(([n]) => row.get(n));
        wanted.set(item, mean(beside.length ? beside : [row.get(item)]));
      }
      if (sweep < 6)
        boxes.get(c).sort((a, b) => wanted.get(a) - wanted.get(b) || row.get(a) - row.get(b));
      apart(boxes.get(c), wanted).forEach(([item, to]) => row.set(item, to));
    }
  }
  return row;
}

function columns(parents) {
  const column = [];
  for (const each of parents)
    column.push(1 + Math.max(-1, ...each.map((parent) => column[parent])));
  parents.forEach((each, index) => {
    const needed = column.filter((_, child) => parents[child].includes(index));
    if (!each.length && needed.length) column[index] = Math.min(...needed) - 1;
  });
  return column;
}

// Rows near the wanted ones, in the order of `items` and at least 1 apart.
function apart(items, wanted) {
  const found = [];
  for (const item of items)
    found.push(found.length ? Math.max(wanted.get(item), found.at(-1) + 1) : wanted.get(item));
  const shift = mean(items.map((item, i) => wanted.get(item) - found[i]));
  return items.map((item, i) => [item, found[i] + shift]);
}

const mean = (numbers) => numbers.reduce((total, x) => total + x, 0) / numbers.length;
