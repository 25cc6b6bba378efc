// The curve of probabilities over a study's slices.

import { fill, svg } from "./dom.js";
import { percent } from "./format.js";

const [HEIGHT, LEFT, TOP, BOTTOM, RIGHT] = [104, 48, 8, 18, 12];

/**
 * @param {number[]} values - probability of each slice, 0 to 1.
 * @param {object} of
 * @param {string} of.name - the class.
 * @param {number|null} of.threshold - operating point.
 * @param {boolean[]} of.abstained - slices without an answer; drawn hollow.
 * @param {(place: number) => void} of.onPick
 * @returns {{element: SVGElement, mark: (place: number) => void}}
 */
export function curve(values, { name, threshold, abstained, onPick }) {
  const element = svg("svg.curve-plot", {
    height: HEIGHT, role: "img",
    "aria-label": `Probability of ${name} over ${values.length} slices, from ${percent(Math.min(...values))} to ${percent(Math.max(...values))}`,
  });
  const marker = svg("line.curve-marker", { y1: TOP, y2: HEIGHT - BOTTOM });
  const label = svg("text.curve-text", { y: HEIGHT - 4, "text-anchor": "middle" });
  let width = 600;
  let marked = 0;

  const x = (place) => LEFT + (values.length < 2 ? 0.5 : place / (values.length - 1)) * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - value) * (HEIGHT - TOP - BOTTOM);
  const mark = (place) => {
    marked = place;
    marker.setAttribute("x1", x(place));
    marker.setAttribute("x2", x(place));
    label.setAttribute("x", Math.min(Math.max(x(place), LEFT + 20), width - RIGHT - 20));
    label.textContent = percent(values[place]);
  };
  const draw = () => {
    const across = (kind, value) => svg(`line.${kind}`, { x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) });
    const path = values.map((value, place) => `${place ? "L" : "M"}${x(place).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    const radius = values.length > 80 ? 1.5 : 3;
    element.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    fill(element,
      [0, 0.5, 1].map((value) => [across("curve-grid", value),
        svg("text.curve-text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, `${100 * value} %`)]),
      threshold !== null && across("curve-threshold", threshold),
      svg("path.curve-line", { d: path }),
      values.map((value, place) => svg(`circle.curve-dot${abstained[place] ? ".is-abstained" : ""}`, { cx: x(place), cy: y(value), r: radius })),
      marker, label);
    mark(marked);
  };
  new ResizeObserver(() => {
    width = element.clientWidth || width;
    draw();
  }).observe(element);

  const pick = (event) => {
    const at = event.clientX - element.getBoundingClientRect().left;
    const share = (at - LEFT) / (width - LEFT - RIGHT);
    onPick(Math.round(Math.min(Math.max(share, 0), 1) * (values.length - 1)));
  };
  element.addEventListener("pointerdown", (event) => { element.setPointerCapture(event.pointerId); pick(event); });
  element.addEventListener("pointermove", (event) => { if (event.buttons) pick(event); });
  draw();
  return { element, mark };
}
