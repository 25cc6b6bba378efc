// Requests to the service. Every failure is an ApiError with a message for people.

const TOKEN = "pulmospark-token";

/** `kind`: "token", "missing", "refused", "busy", "server" or "gone" (no answer). */
export class ApiError extends Error {
  constructor(kind, message, status = 0) {
    super(message);
    this.kind = kind;
    this.status = status;
  }
}

let askForToken = null;

/** What is called when the server wants a token; resolves once there is another one. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

export function setToken(token) {
  sessionStorage.setItem(TOKEN, token.trim());
}

function token() {
  return sessionStorage.getItem(TOKEN);
}

/** A request; asks for a token once the server wants one, and repeats it. */
async function request(path, options = {}) {
  for (;;) {
    const headers = new Headers(options.headers);
    const sent = token();
    if (sent) headers.set("Authorization", `Bearer ${sent}`);
    let response;
    try {
      response = await fetch(path, { ...options, headers, credentials: "same-origin" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError("gone", "The server does not answer. Is it still running?");
    }
    if (response.ok) return response;
    if (response.status !== 401 || !askForToken) throw await failure(response);
    await askForToken(sent !== null && sent === token());
  }
}

async function failure(response) {
  const { status } = response;
  const kind = { 401: "token", 404: "missing", 410: "missing", 429: "busy", 503: "busy" }[status]
    ?? (status >= 500 ? "server" : "refused");
  let message = `The server answered ${status} ${response.statusText}`.trim();
  try {
    message = messageIn(await response.json()) ?? message;
  } catch {
    // no JSON: the status has to do
  }
  return new ApiError(kind, message, status);
}

function messageIn(body) {
  const detail = body?.error?.message ?? body?.error ?? body?.detail ?? body?.message;
  if (typeof detail === "string") return detail;
  if (Array.isArray(detail)) return detail.map((entry) => entry.msg ?? String(entry)).join("; ");
  return null;
}

export async function getJson(path, options) {
  return (await request(path, options)).json();
}

export async function send(method, path, body, options = {}) {
  const response = await request(path, { ...options, method, body });
  return response.status === 204 ? null : response.json();
}

/** An image's samples, and what its headers say of them. */
export async function getPixels(path, options) {
  const response = await request(path, options);
  const number = (name) => Number(response.headers.get(name));
  const [rows, columns] = [number("X-Rows"), number("X-Columns")];
  const buffer = await response.arrayBuffer();
  if (!rows || !columns || buffer.byteLength !== 2 * rows * columns) {
    throw new ApiError("server", `The server sent ${buffer.byteLength} bytes for ${rows} x ${columns} pixels`);
  }
  return {
    rows,
    columns,
    samples: new Uint16Array(buffer),  // little endian, as every browser's machine is
    slope: number("X-Slope"),
    intercept: number("X-Intercept"),
    level: number("X-Window-Level"),
    width: number("X-Window-Width"),
    reduced: number("X-Scale"),
  };
}

export async function getBlob(path, options) {
  return (await request(path, options)).blob();
}

/** Set the source of an <img>; through fetch where a token has to go along. */
export async function loadImage(element, path) {
  if (!token()) {
    element.src = path;
    return;
  }
  try {
    const url = URL.createObjectURL(await getBlob(path));
    element.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    element.src = url;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    element.alt = `${element.alt} (not available)`;
  }
}

/** "/path?a=1" of a path and values; empty ones are left out. */
export function address(path, values = {}) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(values)) {
    if (value !== "" && value !== null && value !== undefined) query.set(key, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

export const at = encodeURIComponent;
