// The pages "Runs": the list of runs, and one run's predictions, errors first, each next to the
// training images nearest to it.

import { address, ApiError, at, getJson, loadImage } from "./api.js";
import { fill, h, outside } from "./dom.js";
import { count, percent } from "./format.js";
import { verdictList } from "./model.js";
import { remedyText } from "./phrases.js";

const PAGE = 48;
const FILTERS = ["outcome", "order", "label", "prediction", "source", "probability_of", "min", "max"];
const NEAREST = 4;

export class RunsPage {
  constructor() {
    this.element = h("div.runs-page", {});
  }

  async open() {
    const answer = await getJson("/api/v1/runs");
    fill(this.element, h("div.page-head", {}, h("h1", { tabindex: -1 }, "Runs")), list(answer));
    return this.element.querySelector("h1");
  }

  leave() {}
}

function list(answer) {
  if (!answer.has_folder) return h("p.empty", {}, "No folder of runs was given: start the service with ", h("code", {}, "--runs FOLDER"), " to look through predictions.");
  if (answer.runs.length === 0) return h("p.empty", {}, "The folder has no evaluated run yet.");
  return h("ul.run-list", {}, answer.runs.map((run) => h("li", {}, run.problem
    ? [h("strong", {}, outside(run.name)), h("p.caution", {}, outside(run.problem))]
    : h("a", { href: `#/runs/${at(run.name)}` }, h("strong", {}, outside(run.name)),
      h("span.hint", {}, `${count(run.images, "tested image")}, ${count(run.errors, "error")}; accuracy ${withInterval(run.accuracy)}`)))));
}

function withInterval({ value, low, high }) {
  if (value === null) return "not defined";
  return low === null || high === null ? value.toFixed(3) : `${value.toFixed(3)} (95% CI ${low.toFixed(3)} to ${high.toFixed(3)})`;
}

export class RunPage {
  /** @param {object} app - replace(). */
  constructor(app) {
    this.app = app;
    this.head = h("div.page-head", {});
    this.form = h("form.filters.is-row", { onsubmit: (event) => event.preventDefault(), onchange: () => this.#filtersChanged() });
    this.summary = h("p.hint", { role: "status" });
    this.grid = h("ul.grid", {});
    this.grid.addEventListener("keydown", (event) => this.#key(event));
    this.more = h("button", { type: "button", onclick: () => this.#more() }, "Show more");
    this.detail = h("section.case", { "aria-label": "Prediction", tabindex: -1 });
    this.element = h("div.run-page", {}, this.head,
      h("details.filter-box", { open: matchMedia("(min-width: 46rem)").matches }, h("summary", {}, "Sort and filter"), this.form),
      this.detail, this.summary, this.grid, this.more);
  }

  async open({ path, query }) {
    const [, name, image] = path;
    if (this.name !== name) {
      this.name = name;
      this.run = await getJson(`/api/v1/runs/${at(name)}`);
      this.filters = null;
      this.#head();
    }
    const filters = Object.fromEntries(FILTERS.map((key) => [key, query.get(key)]).filter(([, value]) => value));
    if (JSON.stringify(filters) !== JSON.stringify(this.filters)) {
      this.filters = filters;
      this.#form();
      await this.#load();
    }
    this.#mark(image);
    if (image) await this.#case(image);
    else fill(this.detail);
    this.detail.hidden = !image;
    if (image) this.detail.scrollIntoView({ block: "start" });
    return image ? this.detail : this.head.querySelector("h1");
  }

  leave() {}

  #link(image) {
    return address(`#/runs/${at(this.name)}${image ? `/${at(image)}` : ""}`, this.filters);
  }

  #head() {
    const { run, phantoms, audits, not_a_medical_device: notice } = this.run;
    const noun = phantoms ? "phantom" : "image";
    fill(this.head, h("p", {}, h("a.back.is-always", { href: "#/runs" }, "All runs")),
      h("h1", { tabindex: -1 }, outside(run.name)),
      h("p.hint", {}, `${count(run.images, `tested ${noun}`)}, ${count(run.errors, "error")}; accuracy ${withInterval(run.accuracy)}. `,
        "No model has seen the images that it is tested on."),
      phantoms && h("p.caution", {}, h("strong", {}, "Phantoms. "), "The images are phantoms: the results say nothing about people."),
      h("p.not-a-device", {}, notice),
      h("details", {}, h("summary", {}, audits.length > 0 ? auditSummary(audits) : "Audits: none"),
        audits.length > 0 ? verdictList(audits.map((audit) => ({ ...audit, sentence: audit.text })))
          : h("p.hint", {}, "The run was not audited, or was split anew since.")));
  }

  #form() {
    const { run, sources } = this.run;
    const { filters } = this;
    const select = (name, text, pairs) => h("label", {}, text, h("select", { name },
      pairs.map(([value, label]) => h("option", { value, selected: value === (filters[name] ?? "") }, label))));
    const named = (values) => [["", "any"], ...values.map((value) => [value, value])];
    const number = (name, text) => h("label", {}, text, h("input", { name, type: "number", min: 0, max: 100, step: "any",
      inputmode: "decimal", value: filters[name] ? Number((100 * filters[name]).toPrecision(6)) : "" }));
    const focused = this.form.contains(document.activeElement) ? document.activeElement.name : null;
    fill(this.form,
      select("outcome", "Show", [["", "all"], ["errors", "errors"], ["correct", "correct"]]),
      select("order", "Order", [["", "errors first"], ["probability", "highest probability"]]),
      select("label", "Label", named(run.classes)), select("prediction", "Prediction", named(run.classes)),
      select("source", "Source", named(sources)),
      select("probability_of", "Probability of", [["", "the prediction"], ...run.classes.map((name) => [name, name])]),
      number("min", "from, %"), number("max", "to, %"));
    if (focused) this.form.elements[focused]?.focus();
  }

  #filtersChanged() {
    const values = Object.fromEntries(new FormData(this.form));
    for (const name of ["min", "max"]) values[name] = values[name] === "" ? "" : Math.min(Math.max(Number(values[name]) / 100, 0), 1);
    this.app.replace(address(`#/runs/${at(this.name)}`, values));
  }

  async #load() {
    this.grid.setAttribute("aria-busy", "true");
    this.cards = new Map();
    fill(this.grid);
    this.cursor = 0;
    try {
      await this.#more();
    } finally {
      this.grid.removeAttribute("aria-busy");
    }
  }

  async #more() {
    const { name, filters } = this;
    const page = await getJson(address(`/api/v1/runs/${at(name)}/predictions`, { ...filters, cursor: this.cursor, limit: PAGE }));
    if (this.name !== name || this.filters !== filters) return;
    this.cursor = page.next_cursor;
    for (const prediction of page.predictions) {
      const card = this.#card(prediction);
      this.cards.set(prediction.image_id, card);
      this.grid.append(card);
    }
    this.more.hidden = page.next_cursor === null;
    fill(this.summary, page.total > 0 ? `${count(page.total, "prediction")}, ${this.cards.size.toLocaleString("en")} shown` : "No prediction matches the filters.");
  }

  #card(prediction) {
    const image = h("img", { alt: "", loading: "lazy", decoding: "async" });
    loadImage(image, imagePath(this.name, prediction.image_id));
    return h(`li.card.${prediction.correct ? "is-correct" : "is-error"}`, {},
      h("a", { href: this.#link(prediction.image_id) }, image,
        h("span.card-outcome", {}, h(`span.mark.${prediction.correct ? "is-pass" : "is-fail"}`, {}, prediction.correct ? "Correct" : "Error")),
        h("span", {}, h("span.hint", {}, "Label "), outside(prediction.label ?? "unknown")),
        h("span", {}, h("span.hint", {}, "Prediction "), outside(prediction.prediction), " ",
          h("span.figure", {}, percent(prediction.probabilities[prediction.prediction])))));
  }

  #mark(image) {
    for (const [id, card] of this.cards) {
      const link = card.querySelector("a");
      link.setAttribute("href", this.#link(id));
      if (id === image) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  /** Arrow keys move through the cards, as they stand in rows. */
  #key(event) {
    const links = [...this.grid.querySelectorAll("a")];
    const place = links.indexOf(document.activeElement);
    if (place < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const top = links[0].offsetTop;
    const columns = links.findIndex((link) => link.offsetTop > top);
    const row = columns < 0 ? links.length : columns;
    const to = { ArrowRight: place + 1, ArrowLeft: place - 1, ArrowDown: place + row, ArrowUp: place - row, Home: 0, End: links.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    links[to]?.focus();
  }

  async #case(image) {
    const { name } = this;
    const path = `/api/v1/runs/${at(name)}/predictions/${at(image)}`;
    const prediction = await getJson(path);
    const near = h("div.near", { "aria-busy": "true" }, h("p.loading", {}, "Searching the training images…"));
    const links = [...this.cards.keys()];
    const place = links.indexOf(image);
    const step = (to, text) => (links[to] ? h("a.button", { href: this.#link(links[to]) }, text) : null);
    fill(this.detail,
      h("div.case-head", {}, h("h2", {}, outside(prediction.name)),
        h("div.actions", {}, place >= 0 && [step(place - 1, "Previous"), step(place + 1, "Next")], h("a.button", { href: this.#link(null) }, "Close"))),
      h("div.case-body", {},
        h("figure.case-image", {}, picture(name, prediction.image_id, `Tested image, label ${prediction.label ?? "unknown"}`),
          h("figcaption", {}, facts(prediction, this.run))),
        h("div", {}, h("h3", {}, "Nearest training images"), near)));
    this.#near(near, path, prediction);  // not awaited: the search may take seconds
  }

  async #near(near, path, prediction) {
    try {
      fill(near, nearest(this.name, prediction, await getJson(address(`${path}/nearest`, { limit: NEAREST }))));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      fill(near, h("p.failure", {}, outside(error.message), " ", remedyText(error.kind)));
    }
    near.removeAttribute("aria-busy");
  }
}

function auditSummary(audits) {
  const number = (verdict) => audits.filter((audit) => audit.verdict === verdict).length;
  const parts = [["fail", "failed"], ["warn", "with a warning"], ["not assessable", "not assessable"], ["pass", "passed"]];
  return `Audits: ${parts.filter(([verdict]) => number(verdict)).map(([verdict, text]) => `${number(verdict)} ${text}`).join(", ")}`;
}

function imagePath(run, image) {
  return `/api/v1/runs/${at(run)}/images/${at(image)}.png`;
}

function picture(run, id, alt) {
  const image = h("img", { alt });
  loadImage(image, imagePath(run, id));
  return image;
}

function facts(prediction, { phantoms, not_a_medical_device: notice }) {
  return [
    h("p", {}, h(`span.mark.${prediction.correct ? "is-pass" : "is-fail"}`, {}, prediction.correct ? "Correct" : "Error"),
      " Label ", h("strong", {}, outside(prediction.label ?? "unknown")), ", prediction ", h("strong", {}, outside(prediction.prediction))),
    h("dl.case-facts", {}, Object.entries(prediction.probabilities).map(([name, value]) => [h("dt", {}, outside(name)), h("dd.figure", {}, percent(value))]),
      prediction.source !== null && [h("dt", {}, "Source"), h("dd", {}, outside(prediction.source))],
      prediction.fold !== null && [h("dt", {}, "Fold"), h("dd", {}, prediction.fold)],
      phantoms && [h("dt", {}, "Image"), h("dd", {}, "phantom")]),
    h("p.not-a-device", {}, notice),
  ];
}

function nearest(run, prediction, answer) {
  if (answer.neighbours.length === 0) return h("p.empty", {}, "The model has no training image in this run's tables.");
  return [
    h("ul.neighbours", {}, answer.neighbours.map((image) => h("li", {},
      picture(run, image.image_id, `Training image, label ${image.label ?? "unknown"}`),
      h("span", {}, h("strong", {}, outside(image.label ?? "unknown")), image.label === prediction.label ? "" : h("span.hint", {}, " (another label)")),
      h("span.hint", {}, `similarity ${image.similarity.toFixed(2)}, `, outside(image.source))))),
    h("p.hint", {}, `Similarity: ${answer.method}; ${answer.searched < answer.of
      ? `searched ${answer.searched.toLocaleString("en")} of ${answer.of.toLocaleString("en")} training images`
      : `searched all ${count(answer.of, "training image")}`}.`),
  ];
}
