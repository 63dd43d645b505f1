// The site's own script: brings the widgets of a page to life, keeps their state in the address, and
// checks predictions. A widget's script puts itself into `minigpt.widgets`, what Python worked out for
// it into `minigpt.given`.
import { readCheckpoint } from "./gpt.js";
import { graphState } from "./graph.js";
import { dashboardState, kernels } from "./kernels.js";
import { checkGuess } from "./predict.js";
import { Random } from "./random.js";

const minigpt = window.minigpt = { widgets: {}, given: {}, checkpoints: {}, live: {}, readCheckpoint,
  loadModel, graphState, dashboardState, checkGuess, Random };
const base = new URL(".", document.currentScript.src);

// ---- the model that a widget's script talks to ----------------------------------------------------

// The interface that anywidget gives to a script: get, set, save_changes, send, on, off.
class Model {
  constructor(traits) {
    Object.assign(this, { traits, changes: new Set(), listeners: {} });
  }

  get(name) {
    return this.traits[name];
  }

  set(name, value) {
    if (this.traits[name] === value) return;
    this.traits[name] = value;
    this.changes.add(name);
    this.fire(`change:${name}`);
    this.fire("change");
  }

  save_changes() {
    const names = [...this.changes];
    this.changes.clear();
    this.kernel.changed(names);
    this.fire("saved");
  }

  send(message) {
    this.kernel.received(message);
    this.fire("saved");
  }

  on(event, listener) {
    (this.listeners[event] ??= []).push(listener);
  }

  off(event, listener) {
    this.listeners[event] = (this.listeners[event] ?? []).filter((each) => listener && each !== listener);
  }

  fire(event) {
    for (const listener of this.listeners[event] ?? []) listener();
  }
}

// A trained model by its name. A page from file:// may not fetch, but load a script.
function loadModel(name) {
  if (!name) return undefined;
  const bytes = () => (location.protocol === "file:" ? fromScript(name)
    : fetch(new URL(`models/${name}.safetensors`, base)).then((answer) => answer.arrayBuffer()));
  return minigpt.checkpoints[name] ??= bytes().then(readCheckpoint);
}

function fromScript(name) {
  return new Promise((done, failed) => {
    const script = Object.assign(document.createElement("script"), {
      src: new URL(`models/${name}.js`, base), onerror: failed,
      onload: () => done(Uint8Array.from(atob(minigpt.given[name]), (c) => c.charCodeAt(0)).buffer),
    });
    document.head.append(script);
  });
}

async function bringToLife(node) {
  const about = JSON.parse(node.dataset.live), id = node.id;
  const gpt = await loadModel(about.model);
  const model = new Model({ problem: "", note: "", ...about.traits });
  const given = minigpt.given[id] ?? minigpt.given[about.widget];
  model.kernel = new kernels[about.widget](model, about, given, gpt);
  model.changes.clear();
  minigpt.live[id] = model;
  readAddress(id);
  const el = document.createElement("div");
  node.append(el);
  minigpt.widgets[about.widget].default.render({ model, el });
  node.querySelector(".minigpt-still").hidden = true;
  if (Object.keys(model.kernel.address()).length) addLink(node, model);
  node.dataset.alive = "";
}

// ---- the address ----------------------------------------------------------------------------------

// #live-3.temperature=0.5&live-3.prompt=the+ : each trait that differs from the widget's first state.
const inAddress = () => new URLSearchParams(location.hash.slice(1));

function addressOf(id) {
  const { traits } = JSON.parse(document.getElementById(id).dataset.live), model = minigpt.live[id];
  return Object.keys(model.kernel.address()).map((name) => [name, model.get(name)])
    .filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(traits[name]))
    .map(([name, value]) => [`${id}.${name}`, typeof value === "string" ? value : JSON.stringify(value)]);
}

function withState(others, id) {
  const all = new URLSearchParams([...others, ...addressOf(id)]);
  return `${location.href.split("#")[0]}${String(all) && `#${all}`}`;
}

let waiting = 0;
function writeAddress(id) {
  clearTimeout(waiting);   // browsers refuse a page that changes its address at every move
  waiting = setTimeout(() => {
    const others = [...inAddress()].filter(([key]) => key.includes(".") && !key.startsWith(`${id}.`));
    history.replaceState(null, "", withState(others, id));
  }, 300);
}

// Takes over what the address says of this widget. What it cannot be is left out, and said.
function readAddress(id) {
  const model = minigpt.live[id], asked = inAddress(), refused = [];
  for (const name of Object.keys(model.kernel.address())) {
    if (!asked.has(`${id}.${name}`)) continue;
    const text = asked.get(`${id}.${name}`), allowed = model.kernel.address()[name];
    const value = typeof model.get(name) === "string" ? text : parsed(text);
    if (fits(value, allowed, name)) {
      model.set(name, value);
      model.save_changes();
    } else refused.push(`${name}=${text.slice(0, 40)}`);
  }
  if (refused.length)
    model.set("note", `The link asks for ${refused.join(", ")}: this widget cannot show that.`);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function fits(value, allowed, name) {
  if (allowed === "object")
    return value !== null && typeof value === "object" && Object.values(value).every(Number.isFinite);
  if (typeof allowed === "string") return typeof value === allowed;
  if (typeof value === "string") return allowed.includes(value);
  const whole = ["temperature", "top_p"].includes(name) || Number.isInteger(value);
  return typeof value === "number" && whole && allowed[0] <= value && value <= allowed[1];
}

function addLink(node, model) {
  const button = Object.assign(document.createElement("button"),
    { type: "button", className: "minigpt-link", textContent: "copy a link to this state" });
  const said = Object.assign(document.createElement("span"), { role: "status" });
  button.onclick = async () => {
    const link = withState([], node.id);
    try {
      await navigator.clipboard.writeText(link);
      said.textContent = "copied";
    } catch {
      said.textContent = link;   // to be copied by hand
    }
  };
  model.on("saved", () => { said.textContent = ""; writeAddress(node.id); });
  const row = Object.assign(document.createElement("p"), { className: "minigpt-link-row" });
  row.append(button, " ", said);
  node.append(row);
}

// ---- the page -------------------------------------------------------------------------------------

// Widgets ask JupyterLab's attribute whether the page is dark.
function followTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)"), { dataset } = document.body;
  const tell = () => {
    const isDark = dataset.theme === "dark" || (dataset.theme !== "light" && dark.matches);
    if (dataset.jpThemeLight !== String(!isDark)) dataset.jpThemeLight = !isDark;
  };
  dark.addEventListener("change", tell);
  new MutationObserver(tell).observe(document.body, { attributes: true, attributeFilter: ["data-theme"] });
  tell();
}

// What is wider than the page scrolls by itself, with the keys too: Tab stops at it while it does.
function scrollWithKeys() {
  const wide = [...document.querySelectorAll("pre, .table-wrapper, .math-wrapper, .cell_output")];
  new ResizeObserver(() => {
    const stops = wide.map((box) => box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight);
    wide.forEach((box, i) => (stops[i] ? box.setAttribute("tabindex", 0) : box.removeAttribute("tabindex")));
  }).observe(document.body);
}

// Sphinx's search reads each page that it found, for a line of it: a browser forbids that in a folder.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined")
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

followTheme();
const nodes = [...document.querySelectorAll("[data-live]")];
for (const { dataset } of nodes) loadModel(JSON.parse(dataset.live).model);   // while scripts are read
document.addEventListener("DOMContentLoaded", async () => {
  for (const form of document.querySelectorAll("form.minigpt-guess")) {
    form.onsubmit = (event) => {
      event.preventDefault();
      form.querySelector("output").textContent =
        checkGuess(JSON.parse(form.dataset.check), form.elements.guess.value);
    };
  }
  for (const node of nodes) await bringToLife(node);
  scrollWithKeys();
  addEventListener("hashchange", () => nodes.forEach(({ id }) => readAddress(id)));
  const first = [...inAddress().keys()].find((key) => key.includes("."));
  if (first) document.getElementById(first.split(".")[0])?.scrollIntoView();
});
