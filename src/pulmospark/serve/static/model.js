// The page "Model": the audits' verdicts, the operating points and the card.

import { getJson } from "./api.js";
import { fill, h, outside } from "./dom.js";
import { moment, percent } from "./format.js";
import { markdown } from "./markdown.js";
import { VERDICTS } from "./phrases.js";

export class ModelPage {
  constructor() {
    this.element = h("div.model-page", {});
  }

  async open() {
    const model = await getJson("/api/v1/model");
    fill(this.element,
      h("div.page-head", {}, h("h1", { tabindex: -1 }, "Model: ", outside(model.model.name)),
        h("p.hint", {}, "Loaded ", moment(model.loaded_at), "; runs in ", outside(model.engine), " with ", outside(model.precision), ". ",
          h("code", { title: model.model.digest }, model.model.digest.slice(0, 16))),
        model.model.phantoms && h("p.caution", {}, h("strong", {}, "Phantom model. "), "Trained on phantoms: its output says nothing about a person."),
        h("p.not-a-device", {}, model.not_a_medical_device)),
      h("div.columns", {},
        h("section", { "aria-labelledby": "audits-title" }, h("h2", { id: "audits-title" }, "Audits"), audits(model)),
        h("section", { "aria-labelledby": "points-title" }, h("h2", { id: "points-title" }, "Operating points"), points(model))),
      h("section.card-text", { "aria-label": "Model card" }, markdown(model.card, 2)));
    return this.element.querySelector("h1");
  }

  leave() {}
}

function audits(model) {
  if (model.audits.length === 0) {
    return h("p.empty", {}, "No audit is known for this model. Verdicts appear if the bundle lies in the folder of an audited run.");
  }
  return verdictList(model.audits.map((audit) => ({ ...audit, sentence: audit.text })));
}

/** Audits, worst first as they come; those that passed are folded. */
export function verdictList(list) {
  const item = (audit) => h("li", {},
    h(`span.mark.is-${audit.verdict.replaceAll(" ", "-")}`, {}, VERDICTS[audit.verdict] ?? audit.verdict), " ",
    h("strong", {}, outside(audit.title)), h("p.hint", {}, outside(audit.sentence)));
  const passed = list.filter((audit) => audit.verdict === "pass");
  const others = list.filter((audit) => audit.verdict !== "pass");
  return [
    others.length > 0 && h("ul.verdicts", {}, others.map(item)),
    passed.length > 0 && h("details", { open: others.length === 0 }, h("summary", {}, `${passed.length} passed`), h("ul.verdicts", {}, passed.map(item))),
  ];
}

function points(model) {
  if (model.operating_points.length === 0) return h("p.empty", {}, "The model has no operating point: it gives probabilities and no decision.");
  return h("div.scroll", {}, h("table", {},
    h("thead", {}, h("tr", {}, ["Positive for", "Threshold", "Chosen for"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, model.operating_points.map((point) => h("tr", {}, h("th", { scope: "row" }, outside(point.positive_class)),
      h("td.figure", {}, percent(point.threshold)),
      h("td", {}, point.sensitivity_target === null ? "set by hand" : `a sensitivity of ${percent(point.sensitivity_target)}`))))));
}
