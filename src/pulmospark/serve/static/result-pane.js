// The viewer and the findings of one result, next to each other.

import { ApiError, at, getBlob, getJson, getPixels, send } from "./api.js";
import { fill, h, outside } from "./dom.js";
import { findings } from "./findings.js";
import { remedyText } from "./phrases.js";
import { Viewer } from "./viewer.js";

const CACHED_BYTES = 96 * 1024 * 1024;

/** Stored values of images that were looked at, the latest ones, for scrolling to and fro. */
class PixelCache {
  constructor() {
    this.images = new Map();
    this.bytes = 0;
  }

  async get(id, signal) {
    const known = this.images.get(id);
    if (known) {
      this.images.delete(id);
      this.images.set(id, known);
      return known;
    }
    const image = await getPixels(`/api/v1/results/${at(id)}/pixels`, { signal });
    if (!this.images.has(id)) this.bytes += image.samples.byteLength;
    this.images.set(id, image);
    for (const [oldest, { samples }] of this.images) {
      if (this.bytes <= CACHED_BYTES || oldest === id) break;
      this.images.delete(oldest);
      this.bytes -= samples.byteLength;
    }
    return image;
  }
}

export const pixelCache = new PixelCache();

export class ResultPane {
  /**
   * @param {object} app - notice() and navigate().
   * @param {object} [options] - `viewer`: of `Viewer`; `actions(result)`: more below the findings;
   *   `onRemoved(id)`: after a result was deleted.
   */
  constructor(app, { viewer = {}, actions = () => [], onRemoved = () => {} } = {}) {
    this.app = app;
    this.actions = actions;
    this.onRemoved = onRemoved;
    this.viewer = new Viewer(viewer);
    this.panel = h("div.panel", {});
    this.element = h("div.result", {}, this.viewer.element, this.panel);
  }

  /** Show a result by id, or as the service gave it; the latest call wins. */
  async open(idOrResult, { keep = false } = {}) {
    this.abort?.abort();
    const { signal } = (this.abort = new AbortController());
    const known = typeof idOrResult === "object" ? idOrResult : null;
    const id = known?.id ?? idOrResult;
    this.element.setAttribute("aria-busy", "true");
    if (!keep) {
      fill(this.panel, h("p.loading", {}, "Loading…"));
      this.viewer.clear("Loading…");
    }
    try {
      const result = known ?? await getJson(`/api/v1/results/${at(id)}`, { signal });
      this.#findings(result);
      if (result.status === "rejected" || result.image?.stored === false) {
        this.viewer.clear(result.status === "rejected" ? "No image: the file was rejected" : "The image is not stored");
        return;
      }
      await this.#image(result, signal, keep);
    } catch (error) {
      if (error.name !== "AbortError") this.#failed(error);
    } finally {
      if (this.abort.signal === signal) this.element.removeAttribute("aria-busy");
    }
  }

  close() {
    this.abort?.abort();
  }

  #findings(result) {
    const remove = h("button.quiet", { type: "button", onclick: () => this.#remove(result, remove) }, "Delete");
    fill(this.panel, findings(result, this.app.notice(), [...this.actions(result), remove]));
  }

  async #image(result, signal, keep) {
    const heat = result.heatmap?.url.startsWith("/") ? heatMap(result.heatmap.url, signal) : Promise.resolve(null);
    heat.catch(() => {});  // handled below, if the pixels come at all
    const image = await pixelCache.get(result.id, signal);
    if (signal.aborted) return;
    this.viewer.show(image, result.name, { keep, isCt: result.image.modality === "CT" });
    const bitmap = await heat;
    if (!signal.aborted && bitmap) this.viewer.showHeat(bitmap);
  }

  #failed(error) {
    if (!(error instanceof ApiError)) throw error;
    const gone = error.kind === "missing";
    this.viewer.clear(gone ? "This image is no longer stored" : "The image could not be loaded");
    fill(this.panel, this.panel.querySelector(".findings") ?? [], h("div.failure", { role: "alert" },
      h("p", {}, gone ? "This result is not stored, or no longer." : outside(error.message)), h("p.hint", {}, remedyText(error.kind))));
  }

  async #remove(result, button) {
    if (button.dataset.sure !== "yes") {
      button.dataset.sure = "yes";
      button.textContent = "Delete result and image?";
      button.addEventListener("blur", () => { button.dataset.sure = ""; button.textContent = "Delete"; }, { once: true });
      return;
    }
    try {
      await send("DELETE", `/api/v1/results/${at(result.id)}`);
      this.onRemoved(result.id);
    } catch (error) {
      this.#failed(error);
    }
  }
}

async function heatMap(url, signal) {
  try {
    return await createImageBitmap(await getBlob(url, { signal }));
  } catch (error) {
    if (error instanceof ApiError && error.kind === "missing") return null;
    throw error;
  }
}
