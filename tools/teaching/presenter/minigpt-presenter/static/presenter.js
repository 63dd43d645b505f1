// Shows the open notebook slide by slide. JupyterLab's own cells are what is shown: those of other
// slides are only moved out of sight, so that every widget stays alive.

(() => {
  const STYLE = new URL("presenter.css", document.currentScript.src).href;
  const FONTS = new URL("fonts/fonts.css", STYLE).href;
  const MARKS = ["minigpt-on", "minigpt-words", "minigpt-no-input", "minigpt-no-output"];
  const COMMENT = /<!--\s*(slide|notes)\b[ \t]*\n?([\s\S]*?)-->/g;
  const NEXT = ["ArrowRight", "ArrowDown", "PageDown", " ", "Enter"];
  const BACK = ["ArrowLeft", "ArrowUp", "PageUp", "Backspace"];
  const CLICKER = ["PageDown", "PageUp"]; // what the thing in the teacher's hand sends

  /** The slides of a notebook: its cells, each with the step at which it appears, and notes. */
  function slidesOf(cells) {
    const slides = [];
    for (const cell of cells) {
      let kind = cell.model.getMetadata("slideshow")?.slide_type ?? "-";
      if (kind === "skip") continue;
      const text = cell.model.sharedModel.getSource();
      if (kind === "notes") {
        slides.at(-1)?.notes.push(text);
        continue;
      }
      if (kind === "slide" || kind === "subslide" || !slides.length) {
        slides.push({ cells: [], notes: [], steps: 0 });
      }
      const slide = slides.at(-1);
      if (kind === "fragment" && slide.cells.length) slide.steps += 1;
      const shown = { cell, step: slide.steps, words: null };
      if (cell.model.type === "markdown") {
        for (const [, what, words] of text.matchAll(COMMENT)) {
          if (what === "slide") shown.words = words;
          else slide.notes.push(words);
        }
      }
      slide.cells.push(shown);
    }
    return slides;
  }

  class Presenter {
    constructor(app, panel, at) {
      this.app = app;
      this.panel = panel;
      this.notebook = panel.content;
      this.slides = slidesOf(this.notebook.widgets);
      this.at = Math.min(at, this.slides.length - 1);
      this.step = 0;
      this.began = Date.now();
      this.onKey = (event) => this.key(event);
      this.onResize = () => this.scale();
    }

    async start() {
      this.panel.node.classList.add("minigpt-presenter");
      this.panel.node.popover = "manual"; // above all else of JupyterLab, whatever holds the panel
      this.panel.node.showPopover();
      this.number = this.sign("right");
      this.news = this.sign("left");
      this.news.textContent = news;
      for (const { cell, words } of this.slides.flatMap((slide) => slide.cells)) {
        const tags = cell.model.getMetadata("tags") ?? [];
        cell.node.classList.toggle("minigpt-no-input", tags.includes("slide-hide-input"));
        cell.node.classList.toggle("minigpt-no-output", tags.includes("slide-hide-output"));
        if (words !== null) await this.write(cell, words);
      }
      document.addEventListener("keydown", this.onKey, true);
      window.addEventListener("resize", this.onResize);
      this.show();
    }

    stop() {
      document.removeEventListener("keydown", this.onKey, true);
      window.removeEventListener("resize", this.onResize);
      clearInterval(this.timer);
      this.notes?.close();
      this.number.remove();
      this.news.remove();
      for (const { node } of this.notebook.widgets) {
        node.classList.remove(...MARKS);
        node.querySelector(".minigpt-slide-words")?.remove();
      }
      this.notebook.node.style.zoom = "";
      this.panel.node.hidePopover();
      this.panel.node.popover = null;
      this.panel.node.classList.remove("minigpt-presenter");
      this.app.shell.fit();
    }

    sign(side) {
      const sign = document.createElement("div");
      sign.className = "minigpt-presenter-sign";
      sign.style[side] = "20px";
      this.panel.node.append(sign);
      return sign;
    }

    /** Put the words that are for the slide alone beside the cell's own text. */
    async write(cell, words) {
      const node = document.createElement("div");
      node.className = "minigpt-slide-words";
      cell.node.classList.add("minigpt-words");
      cell.node.append(node);
      await this.render(words, node);
    }

    /** Show Markdown in a node, with JupyterLab's own means. */
    async render(words, node) {
      const { rendermime } = this.notebook;
      const renderer = rendermime.createRenderer("text/markdown");
      await renderer.renderModel(rendermime.createModel({ data: { "text/markdown": words } }));
      node.replaceChildren(renderer.node);
      rendermime.latexTypesetter?.typeset(renderer.node);
    }

    /** Slides are made for 1280 x 720. A larger screen shows them larger; what is too high for its
        slide (a widget below code) is made smaller by up to a third, beyond that one scrolls. */
    scale() {
      const { style } = this.notebook.node;
      const screen = Math.min(innerWidth / 1280, innerHeight / 720);
      style.zoom = screen;
      const page = this.notebook.node.querySelector(".jp-WindowedPanel-viewport");
      const bottom = Math.max(...[...page.querySelectorAll(".minigpt-on")].map(
        (node) => node.getBoundingClientRect().bottom));
      style.zoom = screen * Math.min(1, Math.max(2 / 3, (innerHeight - 40) / bottom));
    }

    show() {
      const slide = this.slides[this.at];
      const shown = slide.cells.filter(({ step }) => step <= this.step);
      const on = new Set(shown.map(({ cell }) => cell));
      for (const cell of this.notebook.widgets) {
        cell.node.classList.toggle("minigpt-on", on.has(cell));
      }
      this.scale();
      this.number.textContent = `${this.at + 1} / ${this.slides.length}`;
      this.rest();
      this.showNotes();
    }

    /** Take the focus out of widgets and editors: the keys are for the slides again. */
    rest() {
      this.panel.node.tabIndex = -1;
      this.panel.node.focus({ preventScroll: true });
    }

    go(by) {
      const step = this.step + by;
      if (step >= 0 && step <= this.slides[this.at].steps) this.step = step;
      else {
        const at = this.at + by;
        if (at < 0 || at >= this.slides.length) return;
        this.at = at;
        this.step = by > 0 ? 0 : this.slides[at].steps;
        this.notebook.node.scrollTop = 0;
        this.notebook.node.querySelector(".jp-WindowedPanel-outer").scrollTop = 0;
      }
      this.show();
    }

    key(event) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const inUse = event.target.closest?.(".jp-OutputArea-output, .cm-editor, .jp-Stdin");
      if (inUse && event.key === "Escape") this.rest();
      else if (inUse && !CLICKER.includes(event.key)) return; // a slider, a text: the key is theirs
      else if (event.key === "Escape") toggle(this.app);
      else if (NEXT.includes(event.key)) this.go(event.shiftKey ? -1 : 1);
      else if (BACK.includes(event.key)) this.go(-1);
      else if (event.key === "s") this.openNotes();
      else if (event.key === "Tab") return;
      // all others go nowhere: in JupyterLab some of them delete a cell
      event.preventDefault();
      event.stopPropagation();
    }

    openNotes() {
      this.notes = window.open("", "minigpt-notes", "width=700,height=700");
      clearInterval(this.timer);
      this.timer = setInterval(() => this.tell(), 1000);
      this.showNotes();
    }

    /** How long the talk has been going on, in the notes' window. */
    tell() {
      if (this.notes.closed) return clearInterval(this.timer);
      const seconds = Math.floor((Date.now() - this.began) / 1000);
      const clock = this.notes.document.querySelector("time");
      if (clock) clock.textContent = `${Math.floor(seconds / 60)}:${`${seconds % 60}`.padStart(2, "0")}`;
    }

    /** Notes of this slide, and what the next one says. */
    async showNotes() {
      if (!this.notes || this.notes.closed) return;
      const { document: page } = this.notes;
      page.title = "Speaker notes";
      page.body.style.cssText = 'font: 22px "Slide Text", "Slide Signs", sans-serif; margin: 24px';
      page.body.innerHTML = `<p>Slide ${this.number.textContent}, <time></time></p><section></section>
        <h2>Next</h2><section style="opacity: 0.75; font-size: 18px"></section>`;
      this.tell();
      page.onkeydown = (event) => this.key(event);
      const [now, next] = page.querySelectorAll("section");
      await this.render(this.slides[this.at].notes.join("\n\n") || "*no notes*", now);
      await this.render(this.wordsOf(this.slides[this.at + 1]) || "*the end*", next);
      const formulas = document.getElementById("MJX-CHTML-styles")?.sheet?.cssRules ?? [];
      const rules = [...formulas].map((rule) => rule.cssText).join("");
      page.head.innerHTML = `<link rel="stylesheet" href="${FONTS}"><style>${rules}
        code { font-family: "Slide Code" } .jp-InternalAnchorLink { display: none }</style>`;
    }

    /** The text of a slide; code is told by its first line. */
    wordsOf(slide) {
      return (slide?.cells ?? []).map(({ cell, words }) => {
        const text = words ?? cell.model.sharedModel.getSource().replaceAll(COMMENT, "");
        return cell.model.type === "markdown" ? text : `\`${text.trim().split("\n")[0]}\``;
      }).join("\n\n");
    }
  }

  let presenter = null;
  let left = 0; // the slide on which it was left
  let news = "";

  async function toggle(app) {
    if (presenter) {
      presenter.stop();
      left = presenter.at;
      presenter = null;
      return;
    }
    const panel = app.shell.currentWidget;
    if (!panel?.node.classList.contains("jp-NotebookPanel")) return;
    presenter = new Presenter(app, panel, left);
    await presenter.start();
  }

  async function begin(app) {
    document.head.append(
      Object.assign(document.createElement("link"), { rel: "stylesheet", href: STYLE }),
    );
    const button = Object.assign(document.createElement("button"), {
      className: "minigpt-presenter-start",
      textContent: "Present (F8)",
      onclick: () => toggle(app),
    });
    document.body.append(button);
    app.commands.addCommand("minigpt:present", { label: "Present", execute: () => toggle(app) });
    app.commands.addKeyBinding({ command: "minigpt:present", keys: ["F8"], selector: "body" });

    await app.restored;
    const kernel = () => app.shell.currentWidget?.sessionContext?.session?.kernel;
    while (kernel()?.status !== "idle") await new Promise((done) => setTimeout(done, 100));
    await app.shell.currentWidget.revealed;
    news = "the cells are running ...";
    await toggle(app);
    const ran = await app.commands.execute("notebook:run-all-cells");
    news = ran ? "" : "a cell failed: Esc shows the notebook";
    if (presenter) {
      presenter.news.textContent = news;
      presenter.scale();
    }
  }

  const plugin = {
    id: "minigpt-presenter:plugin",
    autoStart: true,
    activate: (app) => void begin(app), // JupyterLab does not wait for it
  };
  window._JUPYTERLAB ??= {};
  window._JUPYTERLAB["minigpt-presenter"] = {
    init: () => {},
    get: async () => () => ({ __esModule: true, default: plugin }),
  };
})();
