/** The token that resumes an interrupted call; it survives a reload of the page. */

const KEY = "holdline.call";
const KEPT_MS = 30000; // how long the server keeps a conversation after losing its line

/** Remember the call that is in progress. */
export function remember({ call_id, resume_token }) {
  write({ call_id, resume_token, seen: Date.now() });
}

/** Record that the call is still in progress, so that its 30 s start again. */
export function touch() {
  const kept = read();
  if (kept) write({ ...kept, seen: Date.now() });
}

export function forget() {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // storage may be disabled; then there is nothing to forget
  }
}

/** The token and the time left, or null if no call can be resumed. */
export function resumable() {
  const kept = read();
  const leftMs = kept ? kept.seen + KEPT_MS - Date.now() : 0;
  return leftMs > 0 && kept.resume_token ? { token: kept.resume_token, leftMs } : null;
}

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
}

function write(value) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(value));
  } catch {
    // without storage a call cannot be resumed; calling still works
  }
}
