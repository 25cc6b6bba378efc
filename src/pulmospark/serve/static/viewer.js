// One grey image: window and level, zoom, pan, invert, and a heat map over it.
// By mouse, touch and keyboard; docs/adr says why no viewer library is used.

import { fill, h } from "./dom.js";
import { percent } from "./format.js";
import { pointers } from "./pointers.js";
import { fitted, moved, zoomed } from "./transform.js";
import { extent, lookup, paint } from "./window-level.js";

const ZOOM_STEP = 1.25;
const PAN_STEP = 40;
const CT_WINDOWS = [
  ["Lung", { level: -600, width: 1500 }],
  ["Soft tissue", { level: 40, width: 400 }],
  ["Bone", { level: 400, width: 1800 }],
];
/** in Hounsfield units */
const KEYS = [
  ["Arrow keys", "change the window, or pan with the pan tool"],
  ["+ − 0", "zoom in, zoom out, fit"],
  ["W, P", "tools: window, pan"],
  ["I, H, R", "invert, heat map, reset"],
];

export class Viewer {
  /**
   * @param {object} [options]
   * @param {(step: number) => void} [options.onScroll] - the wheel and Page Up/Down ask for another
   *   slice; without it the wheel zooms.
   * @param {Array<[string, string]>} [options.keys] - more keys, for the help.
   */
  constructor({ onScroll = null, keys = [] } = {}) {
    this.onScroll = onScroll;
    this.image = null;
    this.heat = null;
    this.inverted = false;
    this.tool = "window";
    this.place = null;
    this.touched = false;
    this.source = document.createElement("canvas");
    this.canvas = h("canvas.stage-canvas", {
      tabindex: 0, role: "application", "aria-label": "Image viewer", "aria-describedby": "viewer-keys",
    });
    this.caption = h("p.stage-caption", { "aria-hidden": "true" });
    this.message = h("p.stage-message", { role: "status" });
    this.stage = h("div.stage", {}, this.canvas, this.caption, this.message);
    this.element = h("div.viewer", {}, this.stage, this.#controls(keys));
    pointers(this.canvas, {
      drag: (dx, dy, pan) => (pan || this.tool === "pan" ? this.#pan(dx, dy) : this.#drag(dx, dy)),
      pinch: (factor, x, y) => this.#zoom(factor, x, y),
      wheel: (steps, x, y, zoom) => {
        if (this.onScroll && !zoom) this.onScroll(steps);
        else this.#zoom(ZOOM_STEP ** -steps, x, y);
      },
    });
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.canvas.addEventListener("dblclick", () => this.fit());
    new ResizeObserver(() => this.#resized()).observe(this.stage);
    this.clear();
  }

  /**
   * Show an image.
   *
   * @param {object} image - of `getPixels`.
   * @param {string} name
   * @param {object} [how] - `keep`: with the window and place that are there; `isCt`: its values
   *   are Hounsfield units.
   */
  show(image, name, { keep = false, isCt = false } = {}) {
    const sameSize = this.image && this.image.rows === image.rows && this.image.columns === image.columns;
    const [low, high] = extent(image.samples).map((sample) => sample * image.slope + image.intercept).sort((a, b) => a - b);
    this.image = { ...image, low, high };
    this.start = { level: image.level, width: image.width };
    this.source.width = image.columns;
    this.source.height = image.rows;
    this.pixels = new ImageData(image.columns, image.rows);
    if (!keep || !this.window) this.window = { ...this.start };
    if (!keep || !sameSize) this.touched = false;
    this.heat = null;
    this.presets.hidden = !isCt;
    this.element.classList.remove("is-empty");
    this.canvas.setAttribute("aria-label", `Image viewer: ${name}`);
    this.say("");
    this.#limits();
    this.#heatControls();
    this.#repaint();
    this.#resized();
  }

  /** Lay a heat map over the image; `null`: none. */
  showHeat(bitmap) {
    this.heat = bitmap;
    this.#heatControls();
    this.#draw();
  }

  /** Show nothing but a message. */
  clear(message = "") {
    this.image = null;
    this.heat = null;
    this.element.classList.add("is-empty");
    this.say(message);
    this.caption.textContent = "";
    this.#heatControls();
    this.#draw();
  }

  say(message) {
    this.message.textContent = message;
  }

  fit() {
    this.touched = false;
    this.#resized();
  }

  reset() {
    this.inverted = false;
    this.invertButton.setAttribute("aria-pressed", "false");
    if (this.image) this.window = { ...this.start };
    this.#repaint();
    this.fit();
  }

  #controls(keys) {
    const button = (label, run, props = {}) => h("button", { type: "button", onclick: run, ...props }, label);
    this.toolButtons = ["window", "pan"].map((tool) =>
      button(tool === "window" ? "Window" : "Pan", () => this.#choose(tool), { "aria-pressed": String(tool === this.tool) }));
    this.invertButton = button("Invert", () => this.#invert(), { "aria-pressed": "false" });
    const range = (label, change, props) => {
      const input = h("input", { type: "range", step: "any", oninput: () => change(Number(input.value)), ...props });
      return [h("label.slider", {}, h("span", {}, label), input), input];
    };
    let level, width, opacity;
    [level, this.levelInput] = range("Level", (value) => this.#setWindow({ level: value }));
    [width, this.widthInput] = range("Width", (value) => this.#setWindow({ width: value }));
    [opacity, this.opacityInput] = range("Opacity", () => this.#opacityChanged(), { min: 0, max: 100, value: 45 });
    this.presets = h("div.controls", { role: "group", "aria-label": "CT windows", hidden: true },
      CT_WINDOWS.map(([name, windowLevel]) => button(name, () => this.#setWindow(windowLevel))));
    this.heatButton = button("Heat map", () => this.#toggleHeat(), { "aria-pressed": "true" });
    this.heatGroup = h("div.controls.heat", { role: "group", "aria-label": "Heat map" }, this.heatButton, opacity);
    return h("div.controls-all", {},
      h("div.controls", { role: "group", "aria-label": "Tools" }, this.toolButtons, this.invertButton),
      h("div.controls", { role: "group", "aria-label": "Zoom" },
        button("−", () => this.#zoom(1 / ZOOM_STEP), { "aria-label": "Zoom out" }),
        button("+", () => this.#zoom(ZOOM_STEP), { "aria-label": "Zoom in" }),
        button("Fit", () => this.fit()), button("Reset", () => this.reset())),
      h("div.controls.sliders", { role: "group", "aria-label": "Window" }, level, width),
      this.presets, this.heatGroup,
      h("details.keys", {}, h("summary", {}, "Keys"),
        h("dl", { id: "viewer-keys" }, [...KEYS, ...keys].map(([key, does]) => [h("dt", {}, key), h("dd", {}, does)]))));
  }

  #choose(tool) {
    this.tool = tool;
    const [windowButton, panButton] = this.toolButtons;
    windowButton.setAttribute("aria-pressed", String(tool === "window"));
    panButton.setAttribute("aria-pressed", String(tool === "pan"));
    this.canvas.classList.toggle("is-pan", tool === "pan");
  }

  #invert() {
    this.inverted = !this.inverted;
    this.invertButton.setAttribute("aria-pressed", String(this.inverted));
    this.#repaint();
  }

  #toggleHeat() {
    if (!this.heat) return;
    const shown = this.heatButton.getAttribute("aria-pressed") !== "true";
    this.heatButton.setAttribute("aria-pressed", String(shown));
    this.#draw();
  }

  #opacityChanged() {
    this.heatButton.setAttribute("aria-pressed", "true");
    this.#draw();
  }

  #heatControls() {
    if (this.heatGroup) this.heatGroup.hidden = this.heat === null;
  }

  #limits() {
    const { low, high } = this.image;
    const { level, width } = this.start;
    this.levelInput.min = Math.floor(Math.min(low, level));
    this.levelInput.max = Math.ceil(Math.max(high, level));
    this.widthInput.min = Math.abs(this.image.slope);
    this.widthInput.max = Math.ceil(Math.max(high - low, width, 2));
  }

  #setWindow(changes) {
    if (!this.image) return;
    this.window = { ...this.window, ...changes };
    this.window.width = Math.max(Math.abs(this.image.slope), this.window.width);
    this.#repaint();
  }

  #drag(dx, dy) {
    if (!this.image) return;
    const step = (this.image.high - this.image.low || 1) / 500;
    const bound = (value, input) => Math.min(Math.max(value, Number(input.min)), Number(input.max));
    this.#setWindow({
      width: bound(this.window.width + dx * step, this.widthInput),
      level: bound(this.window.level + dy * step, this.levelInput),
    });
  }

  #pan(dx, dy) {
    if (!this.place || !this.image) return;
    this.touched = true;
    this.place = moved(this.place, dx, dy, this.image, this.#room());
    this.#draw();
  }

  #zoom(factor, x = null, y = null) {
    if (!this.place || !this.image) return;
    const room = this.#room();
    this.touched = true;
    this.place = zoomed(this.place, factor, x ?? room.width / 2, y ?? room.height / 2);
    this.#pan(0, 0);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const far = this.tool === "pan" ? PAN_STEP : 8;
    const arrows = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] };
    const actions = {
      "+": () => this.#zoom(ZOOM_STEP), "=": () => this.#zoom(ZOOM_STEP), "-": () => this.#zoom(1 / ZOOM_STEP),
      0: () => this.fit(), i: () => this.#invert(), h: () => this.#toggleHeat(), r: () => this.reset(),
      w: () => this.#choose("window"), p: () => this.#choose("pan"),
    };
    if (this.onScroll) Object.assign(actions, { PageUp: () => this.onScroll(-1), PageDown: () => this.onScroll(1) });
    const arrow = arrows[event.key];
    const action = arrow
      ? () => (this.tool === "pan" ? this.#pan(...arrow) : this.#drag(...arrow))
      : actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  #room() {
    return { width: this.stage.clientWidth, height: this.stage.clientHeight };
  }

  #resized() {
    const room = this.#room();
    const density = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(room.width * density));
    this.canvas.height = Math.max(1, Math.round(room.height * density));
    if (this.image && room.width) {
      this.place = this.touched && this.place ? moved(this.place, 0, 0, this.image, room) : fitted(this.image, room);
    }
    this.#draw();
  }

  /** Grey levels anew; at most once a frame, however fast the mouse moves. */
  #repaint() {
    if (!this.image) return;
    this.levelInput.value = this.window.level;
    this.widthInput.value = this.window.width;
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      if (!this.image) return;
      paint(this.image.samples, lookup(this.window, this.image, this.inverted), this.pixels.data);
      this.source.getContext("2d").putImageData(this.pixels, 0, 0);
      this.#draw();
      this.element.dispatchEvent(new CustomEvent("painted", { bubbles: true }));
    });
  }

  #draw() {
    if (!this.canvas) return;
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.image || !this.place) return;
    const density = window.devicePixelRatio || 1;
    const { scale, x, y } = this.place;
    context.setTransform(density, 0, 0, density, 0, 0);
    context.imageSmoothingEnabled = scale * density < 3;
    context.imageSmoothingQuality = "high";
    const area = [x, y, this.image.columns * scale, this.image.rows * scale];
    context.drawImage(this.source, ...area);
    if (this.heat && this.heatButton.getAttribute("aria-pressed") === "true") {
      context.globalAlpha = Number(this.opacityInput.value) / 100;
      context.imageSmoothingEnabled = true;
      context.drawImage(this.heat, ...area);
      context.globalAlpha = 1;
    }
    const { level, width } = this.window;
    const facts = [`${this.image.columns} × ${this.image.rows}`, `level ${Math.round(level)}, width ${Math.round(width)}`, `zoom ${Math.round(100 * scale)} %`];
    if (this.image.reduced > 1) facts.push(`shown at 1:${this.image.reduced}`);
    if (this.inverted) facts.push("inverted");
    fill(this.caption, facts.join(" · "));
  }
}

/** Text for the share of a heat map outside the lungs. */
export function outsideLungs(share) {
  return share === null ? "The lungs were not found, so the share outside them is unknown." : `${percent(share)} of it lies outside the lungs.`;
}
