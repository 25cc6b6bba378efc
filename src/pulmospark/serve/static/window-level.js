// Grey levels of 16-bit samples for the screen. Pure functions, no DOM.

export const LEVELS = 65536;

/**
 * Table from sample to grey level: DICOM's function LINEAR_EXACT (PS3.3 C.11.2.1.3.2), as the
 * service's `image.png` has it.
 *
 * @param {{level: number, width: number}} window - in values; the width above 0.
 * @param {{slope: number, intercept: number}} scale - value = sample * slope + intercept; with a
 *   negative slope low values are bright.
 * @param {boolean} inverted - white is black.
 * @returns {Uint8Array} LEVELS grey levels, 0 to 255.
 */
export function lookup(window, scale, inverted = false) {
  const table = new Uint8ClampedArray(LEVELS);  // rounds and clips
  const width = scale.slope > 0 ? window.width : -window.width;
  for (let sample = 0; sample < LEVELS; sample += 1) {
    const grey = ((sample * scale.slope + scale.intercept - window.level) / width + 0.5) * 255;
    table[sample] = inverted ? 255 - grey : grey;
  }
  return new Uint8Array(table.buffer);
}

/** Smallest and largest sample. */
export function extent(samples) {
  let [low, high] = [LEVELS, 0];
  for (let i = 0; i < samples.length; i += 1) {
    if (samples[i] < low) low = samples[i];
    if (samples[i] > high) high = samples[i];
  }
  return [low, high];
}

/**
 * Paint samples through a table.
 *
 * @param {Uint16Array} samples - row-major.
 * @param {Uint8Array} table - of `lookup`.
 * @param {Uint8ClampedArray} rgba - four bytes a pixel, written.
 */
export function paint(samples, table, rgba) {
  const words = new Uint32Array(rgba.buffer);
  for (let i = 0; i < samples.length; i += 1) {
    words[i] = 0xff000000 | (table[samples[i]] * 0x010101);
  }
}
