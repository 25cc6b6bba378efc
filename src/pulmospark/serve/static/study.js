// The page of a study: its slices to scroll through, and the curve of their probabilities.

import { at, getJson } from "./api.js";
import { curve } from "./curve.js";
import { fill, h } from "./dom.js";
import { count, percent } from "./format.js";
import { pixelCache, ResultPane } from "./result-pane.js";

export class StudyPage {
  /** @param {object} app */
  constructor(app) {
    this.app = app;
    this.pane = new ResultPane(app, {
      viewer: { onScroll: (step) => this.#to(this.place + step), keys: [["Page Up, Page Down", "previous and next slice"]] },
      actions: (result) => [h("a.button", { href: `#/results/${at(result.id)}` }, "This slice alone")],
      onRemoved: () => this.#load(),
    });
    this.slider = h("input", { type: "range", min: 0, "aria-label": "Slice", oninput: () => this.#to(Number(this.slider.value)) });
    this.position = h("output.figure", {});
    this.choice = h("select", { onchange: () => this.#curve() });
    this.plot = h("div.curve", {});
    this.head = h("div.page-head", {});
    this.scroller = h("section.scroller", { "aria-label": "Slices" },
      h("div.controls", {}, h("label.slider.is-wide", {}, h("span", {}, "Slice"), this.slider), this.position,
        h("label", {}, "Curve of ", this.choice)), this.plot);
    this.element = h("div.study", {}, this.head, this.scroller, this.pane.element);
  }

  async open({ path }) {
    this.study = path[1];
    this.place = 0;
    await this.#load();
    return this.head.querySelector("h1");
  }

  leave() {
    this.pane.close();
  }

  async #load() {
    const answer = await getJson(`/api/v1/studies/${at(this.study)}`);
    this.slices = answer.results.filter((result) => result.status === "scored");
    const rejects = answer.results.length - this.slices.length;
    fill(this.head, h("p", {}, h("a.back.is-always", { href: "#/" }, "Back to the worklist")),
      h("h1", { tabindex: -1 }, "Study ", h("code", {}, this.study.slice(0, 12))),
      h("p.hint", {}, count(this.slices.length, "image"), rejects > 0 && `, ${count(rejects, "reject")}`,
        ". The study's name is a pseudonym."));
    this.scroller.hidden = this.pane.element.hidden = this.slices.length === 0;
    if (this.slices.length === 0) {
      this.head.append(h("p.empty", {}, "No image of this study was scored."));
      return;
    }
    const classes = Object.keys(this.slices[0].probabilities);
    const first = this.slices[0].decisions[0]?.positive_class ?? classes[0];
    fill(this.choice, classes.map((name) => h("option", { value: name, selected: name === first }, name)));
    this.slider.max = this.slices.length - 1;
    this.place = Math.min(this.place, this.slices.length - 1);
    this.#curve();
    this.#show(false);  // not awaited: the page is there, and its image comes as soon as it can
  }

  #curve() {
    const name = this.choice.value;
    const values = this.slices.map((slice) => slice.probabilities[name]);
    const point = this.slices[0].decisions.find((decision) => decision.positive_class === name);
    this.drawn = curve(values, {
      name, threshold: point?.threshold ?? null, abstained: this.slices.map((slice) => slice.abstained), onPick: (place) => this.#to(place),
    });
    const highest = values.indexOf(Math.max(...values));
    const above = point ? values.filter((value) => value >= point.threshold).length : null;
    fill(this.plot, this.drawn.element, h("p.hint", {}, "Highest: ", h("button.link", { type: "button", onclick: () => this.#to(highest) },
      `slice ${this.#label(highest)}, ${percent(values[highest])}`),
      above !== null && `; ${above} of ${count(values.length, "slice")} at or above the operating point`, ". Each slice is scored alone."));
    this.drawn.mark(this.place);
  }

  #label(place) {
    return this.slices[place].image?.slice_index ?? place + 1;
  }

  #to(place) {
    const bounded = Math.min(Math.max(place, 0), this.slices.length - 1);
    if (bounded === this.place) return;
    this.place = bounded;
    this.#show(true);
  }

  async #show(keep) {
    this.slider.value = this.place;
    const text = `${this.place + 1} of ${this.slices.length}`;
    this.position.textContent = text;
    this.slider.setAttribute("aria-valuetext", `${text}, ${this.choice.value} ${percent(this.slices[this.place].probabilities[this.choice.value])}`);
    this.drawn.mark(this.place);
    await this.pane.open(this.slices[this.place], { keep });
    this.#prefetch(this.place);
  }

  /** The neighbours of a slice on which somebody stays. */
  #prefetch(place) {
    if (place !== this.place) return;
    for (const next of [place + 1, place - 1, place + 2]) {
      const slice = this.slices[next];
      if (slice && slice.image?.stored !== false) pixelCache.get(slice.id).catch(() => {});
    }
  }
}
