// The curve of probabilities over a study's slices.

import { svg } from "./dom.js";
import { percent } from "./format.js";

const [WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT] = [600, 120, 34, 8, 18, 8];

/**
 * @param {number[]} values - probability of each slice, 0 to 1.
 * @param {object} of
 * @param {string} of.name - the class.
 * @param {number|null} of.threshold - operating point.
 * @param {boolean[]} of.rejected - slices on which the model abstained; drawn hollow.
 * @param {(place: number) => void} of.onPick
 * @returns {{element: SVGElement, mark: (place: number) => void}}
 */
export function curve(values, { name, threshold, rejected, onPick }) {
  const x = (place) => LEFT + (values.length < 2 ? 0.5 : place / (values.length - 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + (1 - value) * (HEIGHT - TOP - BOTTOM);
  const marker = svg("line.curve-marker", { y1: TOP, y2: HEIGHT - BOTTOM });
  const label = svg("text.curve-text", { y: HEIGHT - 4, "text-anchor": "middle" });
  const line = values.map((value, place) => `${place ? "L" : "M"}${x(place).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const element = svg("svg.curve-plot", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `Probability of ${name} over ${values.length} slices, from ${percent(Math.min(...values))} to ${percent(Math.max(...values))}`,
  },
  [0, 0.5, 1].map((value) => [
    svg("line.curve-grid", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
    svg("text.curve-text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, `${100 * value} %`)]),
  threshold !== null && svg("line.curve-threshold", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(threshold), y2: y(threshold) }),
  svg("path.curve-line", { d: line }),
  values.map((value, place) => svg(`circle.curve-dot${rejected[place] ? ".is-abstained" : ""}`, { cx: x(place), cy: y(value), r: values.length > 80 ? 1.5 : 3 })),
  marker, label);
  const pick = (event) => {
    const box = element.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * WIDTH;
    const share = (at - LEFT) / (WIDTH - LEFT - RIGHT);
    onPick(Math.round(Math.min(Math.max(share, 0), 1) * (values.length - 1)));
  };
  element.addEventListener("pointerdown", (event) => { element.setPointerCapture(event.pointerId); pick(event); });
  element.addEventListener("pointermove", (event) => { if (event.buttons) pick(event); });
  const mark = (place) => {
    marker.setAttribute("x1", x(place));
    marker.setAttribute("x2", x(place));
    label.setAttribute("x", Math.min(Math.max(x(place), LEFT + 24), WIDTH - RIGHT - 24));
    label.textContent = percent(values[place]);
  };
  return { element, mark };
}
