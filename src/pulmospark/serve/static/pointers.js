// Mouse, pen and touch on a canvas, as drags, pinches and wheel steps.

const WHEEL_STEP = 60;

/**
 * @param {HTMLElement} target
 * @param {object} on
 * @param {(dx: number, dy: number, pan: boolean) => void} on.drag - pixels; `pan` with another
 *   button, Shift, or two fingers.
 * @param {(factor: number, x: number, y: number) => void} on.pinch
 * @param {(steps: number, x: number, y: number, zoom: boolean) => void} on.wheel - `zoom` with
 *   Control, which is also what a touchpad's pinch sends.
 */
export function pointers(target, on) {
  const down = new Map();
  let rest = 0;

  target.addEventListener("pointerdown", (event) => {
    target.setPointerCapture(event.pointerId);
    down.set(event.pointerId, { x: event.clientX, y: event.clientY, pan: event.button !== 0 || event.shiftKey });
  });
  for (const end of ["pointerup", "pointercancel"]) {
    target.addEventListener(end, (event) => down.delete(event.pointerId));
  }
  target.addEventListener("contextmenu", (event) => event.preventDefault());

  target.addEventListener("pointermove", (event) => {
    const last = down.get(event.pointerId);
    if (!last) return;
    const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
    if (down.size === 1) on.drag(dx, dy, last.pan);
    const before = down.size === 2 ? span(down) : null;
    last.x = event.clientX;
    last.y = event.clientY;
    if (before) {
      const after = span(down);
      const box = target.getBoundingClientRect();
      on.drag(after.x - before.x, after.y - before.y, true);
      if (before.length > 0) on.pinch(after.length / before.length, after.x - box.left, after.y - box.top);
    }
  });

  target.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * WHEEL_STEP;
    rest += pixels;
    const steps = Math.trunc(rest / WHEEL_STEP);
    if (!steps) return;
    rest -= steps * WHEEL_STEP;
    const box = target.getBoundingClientRect();
    on.wheel(steps, event.clientX - box.left, event.clientY - box.top, event.ctrlKey);
  }, { passive: false });
}

/** Middle and length between two fingers. */
function span(down) {
  const [a, b] = down.values();
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, length: Math.hypot(a.x - b.x, a.y - b.y) };
}
