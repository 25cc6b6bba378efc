// The page "Worklist": the list on the left, and on the right the open result or the upload.

import { at } from "./api.js";
import { fill, h, outside } from "./dom.js";
import { ResultPane } from "./result-pane.js";
import { Upload } from "./upload.js";
import { Worklist } from "./worklist.js";

export class Workspace {
  /** @param {object} app */
  constructor(app) {
    this.app = app;
    this.worklist = new Worklist(app);
    this.upload = new Upload(app, () => this.worklist.refresh(), (results) => this.#uploaded(results));
    this.upload.listen(document.getElementById("drop-everywhere"));
    this.pane = new ResultPane(app, {
      viewer: { keys: [["N, B", "next and previous result of the list"]] },
      actions: (result) => (result.image?.study ? [h("a.button", { href: `#/studies/${at(result.image.study)}` }, "Whole study")] : []),
      onRemoved: () => this.#removed(),
    });
    this.pane.viewer.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.back = h("a.back", { href: "#/" }, "Back to the worklist");
    this.welcome = h("div.welcome", {},
      h("h2", {}, "Drop images anywhere"),
      h("p.hint", {}, "PNG, JPEG, DICOM, or a ZIP file of a study. They are scored on this server and go nowhere else."),
      h("div.upload-place"));
    this.detail = h("section.detail-pane", { "aria-label": "Result" });
    this.title = h("h1.unseen", { tabindex: -1 });
    this.element = h("div.workspace", {}, this.title, this.worklist.element, this.detail);
    this.uploaded = new Map();
  }

  open({ path, query }) {
    const id = path[0] === "results" ? path[1] : null;
    this.title.textContent = id ? "Result" : "Worklist";
    this.element.dataset.open = id ? "result" : "list";
    this.worklist.open(query, id);
    if (id) {
      fill(this.worklist.top, this.upload.element);
      this.back.href = `#/${location.hash.includes("?") ? `?${location.hash.split("?")[1]}` : ""}`;
      fill(this.detail, this.back, this.pane.element);
      this.pane.open(this.uploaded.get(id) ?? id);
    } else {
      this.pane.close();
      fill(this.welcome.lastChild, this.upload.element);
      fill(this.worklist.top);
      fill(this.detail, this.welcome);
    }
    return this.title;
  }

  leave() {
    this.worklist.stop();
    this.pane.close();
  }

  #uploaded(results) {
    this.uploaded = new Map(results.map((result) => [result.id, result]));
    const studies = new Set(results.map((result) => result.image?.study ?? null));
    const scored = results.filter((result) => result.status === "scored");
    if (scored.length > 1 && studies.size === 1 && !studies.has(null)) this.app.go(`#/studies/${at([...studies][0])}`);
    else this.app.go(this.worklist.link((scored[0] ?? results[0]).id));
  }

  async #removed() {
    const next = this.worklist.neighbour(1) ?? this.worklist.neighbour(-1);
    await this.worklist.refresh();
    this.app.go(next ? this.worklist.link(next) : "#/");
  }

  #key(event) {
    const step = { n: 1, b: -1 }[event.key.toLowerCase()];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    const next = this.worklist.neighbour(step);
    if (next) this.app.replace(this.worklist.link(next));
    else this.pane.viewer.say(step > 0 ? "Last result of the list" : "First result of the list");
  }
}

/** A page in whose place only a message stands. */
export function messagePage(title, text, hint = "") {
  return h("div.empty", {}, h("h1", { tabindex: -1 }, title), h("p", {}, outside(text)), hint && h("p.hint", {}, hint));
}
