// What the model says of one image, and what limits it. The notice stands with every result.

import { h, outside } from "./dom.js";
import { duration, moment, percent } from "./format.js";
import { methodText, rejectText, sourceText } from "./phrases.js";
import { outsideLungs } from "./viewer.js";

/**
 * The findings of a result.
 *
 * @param {object} result - a `ResultAnswer`.
 * @param {string} notice - "not a medical device", in the server's words.
 * @param {Array<Node>} [actions] - buttons and links below.
 */
export function findings(result, notice, actions = []) {
  return h("div.findings", {},
    heading(result),
    result.status === "rejected" ? rejected(result) : scored(result),
    result.status === "scored" && result.model.phantoms && !result.cautions.some(isOfPhantoms) && h("p.caution", {}, h("strong", {}, "Phantom model. "),
      "It was trained on phantoms, so its output says nothing about a person."),
    h("p.not-a-device", {}, notice),
    actions.length > 0 && h("div.actions", {}, actions),
    details(result));
}

/** Whether a caution is the one that every result of a model trained on phantoms has. */
export function isOfPhantoms(caution) {
  return caution.code === "phantom_model";
}

function heading(result) {
  return h("div.findings-head", {},
    h("h2.name", {}, outside(result.name || result.id)),
    h("p.hint", {}, [moment(result.created_at), sourceText(result.source)].filter(Boolean).join(" · ")));
}

function rejected(result) {
  return h("div.headline.is-rejected", {},
    h("p.answer", {}, "Rejected"),
    h("p", {}, rejectText(result.reject_reason)),
    result.reject_detail && h("p.hint", {}, outside(result.reject_detail)));
}

function scored(result) {
  return [
    result.abstained ? abstained() : answer(result),
    cautions(result),
    probabilities(result),
    heat(result),
  ];
}

function abstained() {
  return h("div.headline.is-abstained", {},
    h("p.answer", {}, "No answer"),
    h("p", {}, "The model abstains: this image is unlike those it was trained on. Do not use the probabilities below."));
}

function answer(result) {
  const positive = result.decisions.filter((decision) => decision.positive);
  return h("div.headline", { "data-positive": String(positive.length > 0) },
    h("p.answer", {}, h("span", {}, outside(result.prediction)), " ",
      h("span.figure", {}, percent(result.probabilities[result.prediction]))),
    h("p.hint", {}, "most probable class"),
    result.decisions.map((decision) => h("p.decision", {},
      h(`span.mark.${decision.positive ? "is-positive" : "is-negative"}`, {}, decision.positive ? "Positive" : "Negative"),
      " for ", outside(decision.positive_class), " at the operating point")));
}

function cautions(result) {
  if (result.cautions.length === 0) return null;
  return h("section.cautions", { "aria-label": "Cautions" }, h("h3", {}, "Cautions"),
    h("ul", {}, result.cautions.map((caution) => h("li", { "data-code": caution.code }, sentence(caution.text)))));
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

function probabilities(result) {
  const points = new Map(result.decisions.map((decision) => [decision.positive_class, decision]));
  return h("section", { "aria-label": "Probabilities" }, h("h3", {}, "Probabilities"),
    h("dl.bars", {}, Object.entries(result.probabilities).map(([name, value]) => [
      h("dt", {}, outside(name)),
      h("dd", {}, bar(value, points.get(name), name === result.prediction && !result.abstained), h("span.figure", {}, percent(value))),
    ])),
    result.decisions.map((decision) => h("p.hint", {}, "Operating point for ", outside(decision.positive_class), ": ",
      `threshold ${percent(decision.threshold)}`,
      decision.sensitivity_target === null ? ", set by hand" : `, chosen for a sensitivity of ${percent(decision.sensitivity_target)}`)));
}

function bar(value, point, strongest) {
  const full = h(`span.bar-fill${strongest ? ".is-strongest" : ""}`);
  full.style.width = `${100 * value}%`;
  let tick = null;
  if (point) {
    tick = h("span.bar-tick", { title: `threshold ${percent(point.threshold)}` });
    tick.style.left = `${100 * point.threshold}%`;
  }
  return h("span.bar-track", { "aria-hidden": "true" }, full, tick);
}

function heat(result) {
  if (!result.heatmap) return null;
  const { class: name, method, outside_lungs: share } = result.heatmap;
  return h("section", { "aria-label": "Heat map" }, h("h3", {}, "Heat map"),
    h("p.hint", {}, "Where the network looked for ", outside(name), ` (${methodText(method)}). `, outsideLungs(share),
      " It shows what influenced the output, not where a disease is."));
}

function details(result) {
  const { image, model } = result;
  const facts = [
    image && ["Size", `${image.columns} × ${image.rows} pixels`],
    image && ["Modality", outside(image.modality)],
    image?.study && ["Study", outside(image.study)],
    image?.slice_index !== null && image?.slice_index !== undefined && ["Slice", image.slice_index],
    result.distance !== null && result.distance !== undefined && ["Distance from training images", result.distance.toFixed(2)],
    ["Answered in", duration(result.seconds)],
    model && ["Model", h("span", {}, outside(model.name), " ", h("code", { title: model.digest }, model.digest.slice(0, 12)))],
    ["Result", h("code", {}, result.id)],
  ];
  return h("details.facts", {}, h("summary", {}, "Details"),
    h("dl", {}, facts.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}
