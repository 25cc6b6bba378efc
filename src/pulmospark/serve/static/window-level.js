// Grey levels of 16-bit pixels for the screen. Pure functions, no DOM.

export const LEVELS = 65536;

/**
 * Table from stored value to grey level: DICOM's function LINEAR (PS3.3 C.11.2.1.2.1).
 *
 * @param {number} centre - of the window, stored value (level).
 * @param {number} width - of the window, stored values, at least 1.
 * @param {boolean} inverted - white is black.
 * @returns {Uint8Array} LEVELS grey levels, 0 to 255.
 */
export function lookup(centre, width, inverted = false) {
  const table = new Uint8Array(LEVELS);
  const span = Math.max(width, 1) - 1;
  const low = centre - 0.5 - span / 2;
  const high = centre - 0.5 + span / 2;
  for (let value = 0; value < LEVELS; value += 1) {
    let grey;
    if (value <= low) grey = 0;
    else if (value > high) grey = 255;
    else grey = Math.round(((value - (centre - 0.5)) / span + 0.5) * 255);
    table[value] = inverted ? 255 - grey : grey;
  }
  return table;
}

/**
 * A window that shows all but the extreme half per cent on either side.
 *
 * @param {Uint16Array} pixels
 * @returns {{centre: number, width: number, low: number, high: number}} `low` and `high` are the
 *   smallest and largest stored values.
 */
export function automatic(pixels) {
  const histogram = new Uint32Array(LEVELS);
  for (let i = 0; i < pixels.length; i += 1) histogram[pixels[i]] += 1;
  const at = (share) => {
    const rank = share * (pixels.length - 1);
    let seen = 0;
    for (let value = 0; value < LEVELS; value += 1) {
      seen += histogram[value];
      if (seen > rank) return value;
    }
    return LEVELS - 1;
  };
  const [from, to] = [at(0.005), at(0.995)];
  return { centre: (from + to + 1) / 2, width: Math.max(to - from, 1) + 1, low: at(0), high: at(1) };
}

/**
 * Paint pixels through a table.
 *
 * @param {Uint16Array} pixels - row-major.
 * @param {Uint8Array} table - of `lookup`.
 * @param {Uint8ClampedArray} rgba - four bytes a pixel, written.
 */
export function paint(pixels, table, rgba) {
  const words = new Uint32Array(rgba.buffer);
  for (let i = 0; i < pixels.length; i += 1) {
    words[i] = 0xff000000 | (table[pixels[i]] * 0x010101);
  }
}
