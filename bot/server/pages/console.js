/** The console, at /: summary, calls, providers, alerts, campaigns, telephone, lab switches. */

import { Alerts } from "./alerts.js";
import { ask, onSignedOut } from "./asking.js";
import { LiveCalls, RecentCalls } from "./calls.js";
import { Campaigns } from "./campaigns.js";
import { el, hasLab } from "./dom.js";
import { Happenings } from "./happenings.js";
import { mountLab } from "./lab.js";
import { Latency } from "./latency.js";
import { every } from "./pacing.js";
import { Providers } from "./providers.js";
import { mountReload } from "./reload.js";
import { mountTelephone } from "./telephone_view.js";
import { Turns } from "./turns.js";
import { Verdict } from "./verdict.js";
import { Waterfall } from "./waterfall.js";

const BUDGET_S = 1.5; // until the server sends its configured budget
const KEPT_CALLS = 200;
const KEPT_OF_POOL = 5000; // entries of all processes; more than a new watcher receives
const AGAIN_MS = 3000; // before reconnecting a refused feed
const LOST_MS = 8000; // a shorter loss of the feed, as when a worker is replaced, is not reported
const QUIET_MS = 8000; // without a message; the server sends a heartbeat every 3 s
const LOOK_MS = 1000;
const INBOX_MS = 15_000;
const SUGGESTED = 6;
const SHORT_WORDS = 4; // too short to suggest a question, such as "Yes, please."

const place = (id) => document.getElementById(id);
const verdict = new Verdict(place("verdict"), (alert) => alerts.buttons(alert));
const turns = new Turns();
const waterfall = new Waterfall(place("waterfall"), BUDGET_S);
const happenings = new Happenings(place("happenings"));
const providers = new Providers(place("providers"), (rungs) => verdict.learn({ rungs }));
const calls = new LiveCalls(place("calls"));
const alerts = new Alerts(place("alerts"), (all) => verdict.learn({ alerts: all }));
const campaigns = new Campaigns(place("campaigns"));
const numbers = {};
const latency = new Latency(place("latency"), BUDGET_S, count);
const recent = new RecentCalls(place("recent"), remember);
const lastTaken = new Map(); // by call: the feed repeats entries after a reconnection

const takenOfPool = new Set(); // entries outside calls; each process numbers its own from 1
let shownCall = null;
let ownCall = null;
let drawing = false;

function count(news) {
  Object.assign(numbers, news);
  verdict.learn({ numbers });
}

/** Take the rest of the response that has the recorded calls. */
function remember({ live, turns: answers, lately, today, problem, store_problem: storeProblem }) {
  latency.fill(answers);
  showCalls(live);
  count({ lately, today });
  verdict.learn({ problem, storeProblem });
}

/** Show how many entries wait in the inbox. */
async function countInbox() {
  const { ok, body } = await ask("/api/inbox?limit=1");
  if (ok) document.querySelector('nav [href="/inbox"]').textContent = body.waiting ? `Inbox (${body.waiting})` : "Inbox";
}

function showCalls(live) {
  calls.show(live);
  providers.show(live);
  verdict.learn({ calls: live });
}

function take(entry) {
  if (!entry?.event) return;
  if (entry.call_id) takeOfCall(entry);
  else if (entry.call_id === "") takeOfPool(entry);
}

function takeOfPool(entry) {
  const name = `${entry.at} ${entry.number} ${entry.event}`;
  if (takenOfPool.has(name)) return;
  takenOfPool.add(name);
  if (takenOfPool.size > KEPT_OF_POOL) takenOfPool.delete(takenOfPool.values().next().value);
  spread(entry);
}

function takeOfCall(entry) {
  if (entry.number <= (lastTaken.get(entry.call_id) ?? 0)) return;
  lastTaken.set(entry.call_id, entry.number);
  if (lastTaken.size > KEPT_CALLS) lastTaken.delete(lastTaken.keys().next().value);
  if (entry.event === "BudgetMissed") setBudget(entry.budget_s);
  if (turns.take(entry) && ownCall === null) shownCall = entry.call_id; // without a call of our own, the latest one
  providers.call = shownCall;
  spread(entry);
  if (entry.call_id === shownCall) redraw();
}

function spread(entry) {
  for (const card of [providers, happenings, alerts, latency, recent]) card.take(entry);
}

function setBudget(budget_s) {
  waterfall.budget_s = latency.budget_s = calls.budget_s = budget_s;
}

function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    waterfall.draw(turns.of(shownCall));
  });
}

function takeFromTelephone(message) {
  if (message.type === "entry") take(message);
  if (message.type !== "call") return;
  ownCall = shownCall = message.call_id;
  providers.call = shownCall;
  redraw();
}

const feed = {
  source: null,
  messageAt: 0,
  signedOut: false,
  brokenAt: null,
};

/** Show in the header and in the summary whether the page is up to date. */
function show(on, text) {
  const live = place("live");
  if (live.dataset.on === String(on) && live.textContent === text) return;
  if (on || live.dataset.on === "true") verdict.learn({ lost: on ? null : Date.now() });
  verdict.learn({ signedOut: feed.signedOut });
  live.dataset.on = String(on);
  live.textContent = text;
}

/** Connect to the live feed, and reconnect when it ends or is silent. */
function follow() {
  const source = new EventSource("/api/live?calls=1");
  const receiving = (take) => ({ data }) => {
    feed.messageAt = Date.now();
    take(JSON.parse(data));
  };
  feed.source = source;
  feed.messageAt = Date.now();
  source.onopen = opened;
  source.onerror = () => broken(source);
  source.onmessage = receiving(take);
  source.addEventListener("beat", receiving(({ store_problem: storeProblem }) => verdict.learn({ storeProblem })));
  source.addEventListener("calls", receiving(showCalls));
  source.addEventListener("campaigns", receiving((all) => campaigns.show(all)));
  source.addEventListener("settings", receiving(({ budget_s }) => {
    setBudget(budget_s ?? BUDGET_S);
    redraw();
  }));
}

function opened() {
  feed.signedOut = false;
  feed.brokenAt = null;
  feed.messageAt = Date.now();
  show(true, "Live");
  recent.refresh();
  alerts.refresh();
}

async function broken(source) {
  if (source !== feed.source) return;
  feed.brokenAt ??= Date.now();
  if (!feed.signedOut) place("live").textContent = "Reconnecting…";
  if (source.readyState !== EventSource.CLOSED) return; // the browser reconnects by itself
  await ask("/api/providers"); // a 401 means that we are signed out
  again(source);
}

function again(source) {
  source.close();
  if (source !== feed.source) return;
  feed.source = null;
  setTimeout(follow, AGAIN_MS);
}

/** An open feed may outlive its session for a few seconds; other requests do not. */
function signOut() {
  feed.signedOut = true;
  show(false, "Signed out: reload this page to sign in");
  if (feed.source?.readyState === EventSource.OPEN) again(feed.source);
}

function listen() {
  if (feed.brokenAt && Date.now() - feed.brokenAt >= LOST_MS && !feed.signedOut) show(false, "Not connected to the server");
  if (!feed.source || Date.now() - feed.messageAt < QUIET_MS) return;
  if (!feed.signedOut) show(false, "Not connected to the server");
  again(feed.source);
}

async function suggest() {
  if (!hasLab) return;
  const response = await fetch("/api/lab/phrases").catch(() => null);
  const phrases = response?.ok ? await response.json() : [];
  if (!phrases.length) return;
  const long = phrases.filter((phrase) => phrase.split(" ").length > SHORT_WORDS);
  const step = Math.max(1, Math.floor(long.length / SUGGESTED));
  const some = long.filter((_, index) => index % step === 0).slice(0, SUGGESTED);
  const list = (texts) => el("ul", {}, ...texts.map((text) => el("li", {}, text)));
  place("phrases").append(list(some), el("details", {}, el("summary", {}, `All ${phrases.length} phrases`), list(phrases)));
  place("phrases").hidden = false;
}

mountTelephone(place("phone"), place("transcript"), {
  onMessage: takeFromTelephone,
  onState: ({ state }) => {
    if (["ended", "lost", "failed"].includes(state)) ownCall = null; // a resumed call is announced again
  },
});
onSignedOut(signOut);
follow();
setInterval(listen, LOOK_MS);
suggest();
if (hasLab) mountLab(place("lab"));
mountReload(place("reload"));
countInbox();
every(INBOX_MS, countInbox);
