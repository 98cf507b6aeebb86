/** What the console asks of the server, and what it has it do. */

const UNANSWERED =
  "No answer came. What was done stands under what operators did; otherwise do it again.";

const ANSWER_MS = 10_000; // a server that stands still answers nothing, and its connections stay open

const signedOut = new Set();

/** Have `listener` called whenever the server says that nobody is signed in here. */
export function onSignedOut(listener) {
  signedOut.add(listener);
}

/** Return {status, body}; a server that cannot be reached has status 0. */
export async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(ANSWER_MS) }).catch(() => null);
  return read(response);
}

/** Have something done; `word` says by whom and why. */
export async function act(path, word = {}) {
  const headers = { "Content-Type": "application/json" };
  const by = ownName();
  const body = JSON.stringify({ ...(by && { by }), ...word });
  const response = await fetch(path, { method: "POST", headers, body }).catch(() => null);
  return response ? read(response) : { status: 0, ok: false, body: { detail: UNANSWERED } };
}

/** What the person at this browser calls themselves. */
export function ownName() {
  try {
    return localStorage.getItem("holdline.name") ?? "";
  } catch {
    return ""; // storage may be switched off: then the name is asked for each time
  }
}

export function keepName(name) {
  try {
    localStorage.setItem("holdline.name", name);
  } catch {
    // as above
  }
}

/** Why something was not done, for people. */
export function problem({ status, body }) {
  if (status === 0) return body?.detail ?? "The server does not answer.";
  if (status === 401) return "You are signed out. Load this page again to sign in.";
  return body?.detail ?? `The server answered ${status}.`;
}

async function read(response) {
  if (!response) return { status: 0, ok: false, body: null };
  const body = await response.json().catch(() => null);
  if (response.status === 401) for (const listener of signedOut) listener();
  return { status: response.status, ok: response.ok, body };
}
