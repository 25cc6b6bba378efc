// Begins the page: routes, theme, token, and what concerns all pages.

import { ApiError, getJson, onTokenNeeded, setToken } from "./api.js";
import { fill, h, outside } from "./dom.js";
import { ModelPage } from "./model.js";
import { remedyText } from "./phrases.js";
import { RunPage, RunsPage } from "./runs.js";
import { StudyPage } from "./study.js";
import { messagePage, Workspace } from "./workspace.js";

const THEME = "pulmospark-theme";
const byId = (id) => document.getElementById(id);

/** What the pages share. */
class App {
  constructor() {
    this.model = null;
    this.pages = new Map();
    this.current = null;
  }

  classes() {
    return this.model?.classes ?? [];
  }

  heatmaps() {
    return this.model?.heatmaps ?? false;
  }

  notice() {
    return byId("notice").textContent;
  }

  /** Show an address as a new entry of the history. */
  go(hash) {
    if (location.hash === hash) this.route();
    else location.hash = hash;
  }

  /** Show an address in the place of the present one. */
  replace(hash) {
    history.replaceState(null, "", hash);
    this.route({ moveFocus: false });
  }

  /** Say that the server cannot be reached, or `null`: that it can. */
  gone(error) {
    const alerts = byId("alerts");
    if (!error) {
      if (alerts.dataset.kind) fill(alerts);
      delete alerts.dataset.kind;
    } else if (alerts.dataset.kind !== error.kind) {
      alerts.dataset.kind = error.kind;
      const again = error.kind === "token" && h("button", { type: "button", onclick: () => location.reload() }, "Give the token");
      fill(alerts, h("p.failure", {}, outside(error.message), " ", remedyText(error.kind), " ", again));
    }
  }

  async start() {
    theme();
    onTokenNeeded(tokenDialog());
    addEventListener("hashchange", () => this.route());
    await Promise.all([this.loadModel(), this.route({ moveFocus: false })]);
  }

  async loadModel() {
    try {
      this.model = await getJson("/api/v1/model");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.gone(error);
      if (error.kind !== "token") setTimeout(() => this.loadModel(), 1500);
      return;
    }
    this.gone(null);
    const { model, not_a_medical_device: notice } = this.model;
    fill(byId("notice"), notice);
    fill(byId("model-chip"), outside(model.name), model.phantoms && [" ", h("span.mark.is-caution", {}, "phantoms")]);
    if (this.current instanceof Workspace) this.route({ moveFocus: false });
  }

  page(path) {
    const kinds = {
      "": Workspace, results: Workspace, studies: StudyPage, model: ModelPage,
      runs: path.length > 1 ? RunPage : RunsPage,
    };
    const Kind = kinds[path[0] ?? ""];
    if (Kind && !this.pages.has(Kind)) this.pages.set(Kind, new Kind(this));
    return this.pages.get(Kind) ?? null;
  }

  async route({ moveFocus = true } = {}) {
    const route = parsed(location.hash);
    const page = this.page(route.path);
    const main = byId("main");
    mark(route.path[0] ?? "");
    if (page !== this.current) {
      this.current?.leave();
      this.current = page;
    }
    if (!page) {
      fill(main, messagePage("No such page", `There is no page at ${location.hash}.`));
      return;
    }
    if (!main.contains(page.element)) fill(main, page.element);
    this.routing = route;
    const focused = document.activeElement;
    try {
      const heading = await page.open(route);
      // Whoever has moved on while the page was loaded keeps the focus where it is.
      const isUntouched = [focused, document.body].includes(document.activeElement);
      if (this.routing === route && moveFocus && isUntouched) heading?.focus({ preventScroll: true });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this.routing !== route) return;
      this.current = null;
      this.pages.delete(page.constructor);
      fill(main, messagePage(error.kind === "missing" ? "Not found" : "This could not be loaded", error.message, remedyText(error.kind)),
        h("p.empty", {}, h("button", { type: "button", onclick: () => this.route() }, "Try again")));
    }
  }
}

/** "#/results/ID?sort=x" as path and query; a malformed escape stays as it is. */
function parsed(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const decoded = (part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  };
  return { path: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

function mark(first) {
  const page = { "": "worklist", results: "worklist", studies: "worklist" }[first] ?? first;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.page === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** Dark or light as the system has it, until somebody chooses. */
function theme() {
  const button = byId("theme");
  const system = matchMedia("(prefers-color-scheme: light)");
  const isLight = () => (localStorage.getItem(THEME) ?? (system.matches ? "light" : "dark")) === "light";
  const show = () => {
    document.documentElement.dataset.theme = isLight() ? "light" : "dark";
    button.setAttribute("aria-pressed", String(isLight()));
  };
  button.addEventListener("click", () => {
    localStorage.setItem(THEME, isLight() ? "dark" : "light");
    show();
  });
  system.addEventListener("change", show);
  show();
}

/** Asks for a token, once for all requests that wait for it. */
function tokenDialog() {
  const dialog = byId("token-dialog");
  const input = byId("token");
  let asking = null;
  const ask = (wasWrong) => new Promise((resolve, reject) => {
    if (wasWrong) byId("token-reason").textContent = "The server does not accept this token.";
    input.value = "";
    dialog.returnValue = "";
    dialog.showModal();
    dialog.addEventListener("close", () => {
      if (dialog.returnValue === "ok" && input.value.trim()) {
        setToken(input.value);
        resolve();
      } else {
        reject(new ApiError("token", "No token was given."));
      }
    }, { once: true });
  });
  return (wasWrong) => {
    asking ??= ask(wasWrong).finally(() => { asking = null; });
    return asking;
  };
}

new App().start();
