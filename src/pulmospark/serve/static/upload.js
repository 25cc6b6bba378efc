// Files that are dropped or chosen, sent to be scored a few at a time.

import { address, ApiError, send } from "./api.js";
import { fill, h, outside } from "./dom.js";
import { count } from "./format.js";
import { remedyText } from "./phrases.js";

const REQUEST_FILES = 8;
const REQUEST_BYTES = 32 * 1024 * 1024;

export class Upload {
  /**
   * @param {object} app - heatmaps(): whether to ask for heat maps.
   * @param {(results: object[]) => void} onResults - after each request.
   * @param {(results: object[]) => void} onDone - once all files are sent.
   */
  constructor(app, onResults, onDone) {
    this.app = app;
    this.onResults = onResults;
    this.onDone = onDone;
    this.waiting = [];
    const input = (props) => h("input", { type: "file", hidden: true,
      onchange: (event) => { this.add([...event.target.files]); event.target.value = ""; }, ...props });
    this.files = input({ multiple: true, id: "choose-files" });
    this.folder = input({ webkitdirectory: true, id: "choose-folder" });
    this.status = h("div.upload-status", { role: "status" });
    this.element = h("div.upload", {},
      h("button.primary", { type: "button", onclick: () => this.files.click() }, "Choose images"), " ",
      h("button", { type: "button", onclick: () => this.folder.click() }, "Choose a folder"),
      this.files, this.folder, this.status);
  }

  /** Accept drops anywhere on the page. */
  listen(curtain) {
    let depth = 0;
    const show = (shown) => { curtain.hidden = !shown; };
    const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
    addEventListener("dragenter", (event) => { if (carriesFiles(event)) { depth += 1; show(true); } });
    addEventListener("dragleave", (event) => { if (carriesFiles(event)) { depth -= 1; show(depth > 0); } });
    addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
    addEventListener("drop", async (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      depth = 0;
      show(false);
      this.add(await droppedFiles(event.dataTransfer));
    });
  }

  /** Send files, after those that are on their way. */
  async add(files) {
    this.waiting.push(...files);
    this.total = (this.total ?? 0) + files.length;
    if (this.running || files.length === 0) return;
    this.running = new AbortController();
    const results = [];
    const failures = [];
    while (this.waiting.length > 0 && !this.running.signal.aborted) {
      const group = nextGroup(this.waiting);
      this.#progress(this.total - this.waiting.length - group.length);
      try {
        const answer = await this.#send(group, this.running.signal);
        results.push(...answer.results);
        this.onResults(answer.results);
      } catch (error) {
        if (error.name === "AbortError") break;
        if (!(error instanceof ApiError)) throw error;
        failures.push({ group, error });
        if (error.kind === "gone" || error.kind === "token") break;
      }
    }
    const unsent = this.waiting.length;
    this.waiting = [];
    this.running = null;
    this.total = 0;
    this.#finished(failures, unsent);
    if (results.length > 0) this.onDone(results);
  }

  async #send(group, signal) {
    const body = new FormData();
    for (const file of group) body.append("files", file, file.name);
    const query = { heatmap: this.app.heatmaps() ? "true" : null, store: "true" };
    return send("POST", address("/api/v1/predict", query), body, { signal, headers: { "X-Pulmospark-Page": "1" } });
  }

  #progress(sent) {
    const bar = h("progress", { max: this.total, value: sent, "aria-label": "Files scored" });
    fill(this.status, h("p", {}, `Scoring ${count(this.total, "file")}…`), bar,
      h("button.quiet", { type: "button", onclick: () => this.running?.abort() }, "Stop"));
  }

  #finished(failures, unsent) {
    const close = h("button.quiet", { type: "button", onclick: () => fill(this.status) }, "Dismiss");
    const lines = failures.map(({ group, error }) => h("li", {}, h("strong", {}, outside(group[0].name),
      group.length > 1 ? ` and ${count(group.length - 1, "more file")}` : ""), ": ", outside(error.message), " ", remedyText(error.kind)));
    if (unsent > 0) lines.push(h("li", {}, `${count(unsent, "file")} not sent.`));
    fill(this.status, lines.length > 0 && h("div.failure", {}, h("ul", {}, lines), close));
  }
}

/** The first files that make one request. */
function nextGroup(waiting) {
  let bytes = 0;
  let files = 0;
  while (files < waiting.length && files < REQUEST_FILES) {
    bytes += waiting[files].size;
    if (files > 0 && bytes > REQUEST_BYTES) break;
    files += 1;
  }
  return waiting.splice(0, files);
}

/** The files of a drop, those in folders included, in the order of their names. */
async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const files = [];
  while (entries.length > 0) {
    const entry = entries.shift();
    if (entry.isFile) files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    else entries.unshift(...await listed(entry));
  }
  return files;
}

async function listed(folder) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) {  // a reader gives a hundred at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return entries.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
    entries.push(...some);
  }
}
