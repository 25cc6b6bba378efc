// The worklist: what came in, sorted and filtered, and kept up to date.

import { address, ApiError, at, getJson } from "./api.js";
import { fill, h, outside, visible } from "./dom.js";
import { isOfPhantoms } from "./findings.js";
import { count, moment, percent } from "./format.js";
import { rejectText, remedyText, sourceText } from "./phrases.js";

const PAGE = 50;
const REFRESH_MS = 4000;
const FILTERS = ["sort", "class", "prediction", "status", "min", "max", "source", "study"];

export class Worklist {
  /** @param {object} app - classes(), navigate() and gone(). */
  constructor(app) {
    this.app = app;
    this.query = {};
    this.rows = new Map();
    this.order = [];
    this.selected = null;
    this.jobs = [];
    this.summary = h("p.hint", { role: "status" });
    this.list = h("ol.worklist", {});
    this.list.addEventListener("keydown", (event) => this.#key(event));
    this.more = h("button", { type: "button", onclick: () => this.#load(this.order.length + PAGE) }, "Show more");
    this.more.hidden = true;
    this.form = h("form.filters", { onsubmit: (event) => event.preventDefault(), onchange: () => this.#filtersChanged() });
    this.top = h("div.worklist-top", {});
    this.filterBox = h("details.filter-box", {}, h("summary", {}, "Sort and filter"), this.form);
    this.element = h("section.list-pane", { "aria-labelledby": "worklist-title" },
      h("h2", { id: "worklist-title" }, "Worklist"), this.top, this.filterBox, this.summary, this.list, this.more);
    if (matchMedia("(min-width: 46rem)").matches) this.filterBox.open = true;
  }

  /** Show the list as a query asks; `selected` is the id of the open result. */
  open(query, selected) {
    const changed = FILTERS.some((name) => (this.query[name] ?? "") !== (query.get(name) ?? ""));
    this.query = Object.fromEntries(FILTERS.map((name) => [name, query.get(name)]).filter(([, value]) => value));
    this.selected = selected;
    this.#filters();
    this.#mark();
    if (changed || !this.loaded) this.#load(PAGE);
    if (!this.loaded) this.#loadJobs();
    this.start();
  }

  /** Ask for new results from time to time, as long as somebody can see them. */
  start() {
    this.stop();
    this.timer = setInterval(() => {
      if (!document.hidden && !this.loading && this.element.isConnected) this.refresh();
    }, REFRESH_MS);
  }

  /** Batch jobs, whose folders are sources to filter by. */
  async #loadJobs() {
    try {
      const { jobs } = await getJson("/api/v1/jobs");
      this.jobs = jobs.map((job) => [`job:${job.id}`, `folder ${visible(job.name || job.input)}`]);
      this.#filters();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;  // the list itself says what is wrong
    }
  }

  stop() {
    clearInterval(this.timer);
  }

  refresh() {
    return this.#load(Math.max(PAGE, this.order.length));
  }

  /** The id of the result before or after the open one; `null`: there is none. */
  neighbour(step) {
    const place = this.order.indexOf(this.selected) + step;
    return this.order[place] ?? null;
  }

  /** The address of a result, with the filters that are set. */
  link(id) {
    return address(`#/results/${at(id)}`, this.query);
  }

  async #load(wanted) {
    this.abort?.abort();
    const { signal } = (this.abort = new AbortController());
    this.loading = true;
    if (!this.loaded) fill(this.summary, "Loading…");
    try {
      const results = [];
      let cursor = null;
      let page;
      do {
        const limit = Math.min(PAGE, wanted - results.length);
        page = await getJson(address("/api/v1/results", { ...this.query, cursor, limit }), { signal });
        results.push(...page.results);
        cursor = page.next_cursor;
      } while (cursor && results.length < wanted);
      this.loaded = true;
      this.app.gone(null);
      this.#show(results, page.total, cursor !== null);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof ApiError)) throw error;
      if (error.kind === "token") this.stop();  // or it would be asked for again and again
      this.app.gone(error);
      if (!this.loaded) fill(this.summary, outside(error.message), " ", remedyText(error.kind));
    } finally {
      if (this.abort.signal === signal) this.loading = false;
    }
  }

  #show(results, total, more) {
    const focused = document.activeElement?.closest?.(".worklist li")?.dataset.id;
    const rows = new Map(results.map((result) => [result.id, this.rows.get(result.id) ?? this.#row(result)]));
    const order = [...rows.keys()];
    if (order.join() !== this.order.join() || !this.rows.size) {
      this.rows = rows;
      this.order = order;
      fill(this.list, [...rows.values()]);
      if (focused) rows.get(focused)?.querySelector("a").focus({ preventScroll: true });
    }
    this.#mark();
    this.more.hidden = !more;
    const filtered = FILTERS.some((name) => name !== "sort" && this.query[name]);
    if (total > 0) fill(this.summary, count(total, "result"), filtered ? " with these filters" : "");
    else if (filtered) fill(this.summary, "No result matches the filters.");
    else fill(this.summary, "Nothing has come in yet. Drop an image, or send one by REST.");
  }

  #row(result) {
    const scored = result.status === "scored";
    const probability = scored ? result.probabilities[this.query.class] ?? result.probabilities[result.prediction] : null;
    const name = this.query.class && scored ? this.query.class : result.prediction;
    const positive = result.decisions.some((decision) => decision.positive);
    const state = !scored ? "Rejected" : result.abstained ? "No answer" : positive ? "Positive" : "Negative";
    const kind = !scored ? "is-rejected" : result.abstained ? "is-abstained" : positive ? "is-positive" : "is-negative";
    return h("li", { "data-id": result.id },
      h("a", { href: this.link(result.id), title: scored ? false : rejectText(result.reject_reason) },
        h("span.row-name", {}, outside(result.name || result.id)),
        h("span.row-value", {}, scored && !result.abstained ? [outside(name), " ", h("span.figure", {}, percent(probability))] : ""),
        h("span.row-facts", {}, [moment(result.created_at),
          result.image?.slice_index !== null && result.image?.slice_index !== undefined && `slice ${result.image.slice_index}`,
          sourceText(result.source)].filter(Boolean).join(" · ")),
        h("span.row-state", {},
          result.cautions.some((caution) => !isOfPhantoms(caution)) && h("span.mark.is-caution", {}, "Caution"), " ",
          (!scored || result.abstained || result.decisions.length > 0) && h(`span.mark.${kind}`, {}, state))));
  }

  #mark() {
    for (const [id, row] of this.rows) {
      const link = row.querySelector("a");
      link.setAttribute("href", this.link(id));
      if (id === this.selected) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  #key(event) {
    const links = [...this.list.querySelectorAll("a")];
    const place = links.indexOf(document.activeElement);
    const to = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: links.length - 1 }[event.key];
    if (to === undefined || place < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const link = links[Math.min(Math.max(to, 0), links.length - 1)];
    link.focus();
    // In the wide layout the result stands next to the list, and follows.
    if (matchMedia("(min-width: 62rem)").matches) this.app.replace(link.getAttribute("href"));
  }

  #filters() {
    const { query } = this;
    const classes = this.app.classes();
    const stamp = JSON.stringify([query, classes, this.jobs]);
    if (this.stamp === stamp) return;
    this.stamp = stamp;
    const options = (pairs, chosen) => pairs.map(([value, text]) => h("option", { value, selected: value === (chosen ?? "") }, text));
    const percentInput = (name, text) => h("label", {}, text,
      h("input", { name, type: "number", min: 0, max: 100, step: "any", inputmode: "decimal", value: query[name] ? Number((100 * query[name]).toPrecision(6)) : "" }));
    const focused = document.activeElement?.name;
    fill(this.form,
      h("label", {}, "Sort by", h("select", { name: "sort" }, options([["", "latest first"], ["probability", "highest probability"]], query.sort))),
      h("label", {}, "Prediction", h("select", { name: "prediction" }, options([["", "any"], ...classes.map((name) => [name, name])], query.prediction))),
      h("label", {}, "Status", h("select", { name: "status" }, options([["", "any"], ["scored", "scored"], ["rejected", "rejected"]], query.status))),
      h("label", {}, "Source", h("select", { name: "source" }, options([["", "any"], ["page", "this page"], ["rest", "REST"], ...this.jobs], query.source))),
      h("div.range", {}, h("label", {}, "Probability of", h("select", { name: "class" }, options([["", classes.length ? "operating point" : "any"], ...classes.map((name) => [name, name])], query.class))),
      percentInput("min", "from, %"), percentInput("max", "to, %")),
      query.study && h("p.hint", {}, "One study. ", h("a", { href: address("#/", { ...query, study: null }) }, "Show all")));
    if (focused) this.form.elements[focused]?.focus();
  }

  #filtersChanged() {
    const values = Object.fromEntries(new FormData(this.form));
    for (const name of ["min", "max"]) values[name] = values[name] === "" ? "" : Math.min(Math.max(Number(values[name]) / 100, 0), 1);
    const path = this.selected ? `#/results/${at(this.selected)}` : "#/";
    this.rows = new Map();
    this.app.replace(address(path, { ...values, study: this.query.study }));
  }
}
