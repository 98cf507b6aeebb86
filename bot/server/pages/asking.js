/** Requests and actions of the console. */

import { signedInName } from "./dom.js";

const UNANSWERED =
  "The server did not answer. Check under Events whether the action was done; if not, repeat it.";

const ANSWER_MS = 10_000; // a suspended process does not answer, but keeps its connections open

const signedOut = new Set();

/** Call `listener` whenever the server answers that this browser is not signed in. */
export function onSignedOut(listener) {
  signedOut.add(listener);
}

/** Return {status, ok, body}; a server that cannot be reached has status 0. */
export async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(ANSWER_MS) }).catch(() => null);
  return read(response);
}

/** Run an action; `word` has what the operator adds: name, reason, force. */
export async function act(path, word = {}) {
  const headers = { "Content-Type": "application/json" };
  const by = ownName();
  const body = JSON.stringify({ ...(by && { by }), ...word });
  const response = await fetch(path, { method: "POST", headers, body }).catch(() => null);
  return response ? read(response) : { status: 0, ok: false, body: { detail: UNANSWERED } };
}

/** Send a file, compressed so that more of it fits in a request. */
export async function sendFile(path, file) {
  const packed = await new Response(file.stream().pipeThrough(new CompressionStream("gzip"))).blob();
  const by = encodeURIComponent(ownName());
  const response = await fetch(`${path}&by=${by}`, { method: "POST", body: packed }).catch(() => null);
  return response ? read(response) : { status: 0, ok: false, body: { detail: UNANSWERED } };
}

/** The operator's name: that of the sign-in, else the one stored in this browser. */
export function ownName() {
  if (signedInName) return signedInName;
  try {
    return localStorage.getItem("holdline.name") ?? "";
  } catch {
    return ""; // storage may be disabled; then the dialog asks for the name each time
  }
}

export function keepName(name) {
  try {
    localStorage.setItem("holdline.name", name);
  } catch {
    // as above
  }
}

/** Return why a request failed, as a sentence. */
export function problem({ status, body }) {
  if (status === 0) return body?.detail ?? "The server does not answer.";
  if (status === 401) return "You are signed out. Reload this page to sign in.";
  return body?.detail ?? `The server answered ${status}.`;
}

async function read(response) {
  if (!response) return { status: 0, ok: false, body: null };
  const body = await response.json().catch(() => null);
  if (response.status === 401) for (const listener of signedOut) listener();
  return { status: response.status, ok: response.ok, body };
}
