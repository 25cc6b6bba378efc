// Numbers, times and sizes as people read them.

/** A probability, never a certainty that rounding made; as `percent` in core/safe_text.py. */
export function percent(probability) {
  const text = (100 * probability).toFixed(1);
  if (probability < 1 && text === "100.0") return "over 99.9 %";
  if (probability > 0 && text === "0.0") return "under 0.1 %";
  return `${text} %`;
}

/** "1 image", "1,200 images". */
export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** Time of the day, with the date unless it is today. */
export function moment(iso) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return "";
  const time = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  if (at.toDateString() === new Date().toDateString()) return time;
  return `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })}, ${time}`;
}

/** A duration in milliseconds or seconds. */
export function duration(seconds) {
  return seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`;
}
