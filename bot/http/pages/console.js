/** The console, at /: the telephone, where the time of each turn went, providers, the lab's switches. */

import { el } from "./dom.js";
import { Happenings } from "./happenings.js";
import { mountLab } from "./lab.js";
import { Providers } from "./providers.js";
import { mountTelephone } from "./telephone_view.js";
import { Turns } from "./turns.js";
import { Waterfall } from "./waterfall.js";

const BUDGET_S = 1.5; // until the server says what its configuration holds
const KEPT_CALLS = 200;
const SUGGESTED = 6;
const SHORT_WORDS = 4; // "Yes, please." answers a question; it suggests nothing

const place = (id) => document.getElementById(id);
const turns = new Turns();
const waterfall = new Waterfall(place("waterfall"), BUDGET_S);
const happenings = new Happenings(place("happenings"));
const providers = new Providers(place("providers"));
const lastTaken = new Map(); // by call: the live feed repeats itself when it is taken up again

let lastOfHouse = ""; // of what belongs to no call; a server that was started anew counts from 1
let shownCall = null;
let ownCall = null;
let drawing = false;

function take(entry) {
  if (!entry?.event) return;
  if (entry.call_id) takeOfCall(entry);
  else if (entry.call_id === "") takeOfHouse(entry);
}

function takeOfHouse(entry) {
  const moment = `${entry.at} ${String(entry.number).padStart(12, "0")}`;
  if (moment <= lastOfHouse) return;
  lastOfHouse = moment;
  providers.take(entry);
  happenings.take(entry);
}

function takeOfCall(entry) {
  if (entry.number <= (lastTaken.get(entry.call_id) ?? 0)) return;
  lastTaken.set(entry.call_id, entry.number);
  if (lastTaken.size > KEPT_CALLS) lastTaken.delete(lastTaken.keys().next().value);
  happenings.take(entry);
  providers.take(entry);
  if (entry.event === "BudgetMissed") waterfall.budget_s = entry.budget_s;
  if (turns.take(entry) && ownCall === null) shownCall = entry.call_id; // without an own call, the latest one
  providers.call = shownCall;
  if (entry.call_id === shownCall) redraw();
}

function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    waterfall.draw(turns.of(shownCall));
  });
}

function hear(message) {
  if (message.type === "entry") take(message);
  if (message.type !== "call") return;
  ownCall = shownCall = message.call_id;
  providers.call = shownCall;
  redraw();
}

function follow() {
  const live = place("live");
  const show = (on) => {
    live.dataset.on = String(on);
    live.textContent = on ? "Live" : "Not connected to the server";
  };
  const feed = new EventSource("/api/live");
  feed.onopen = () => show(true);
  feed.onerror = () => show(false); // the browser tries again by itself
  feed.onmessage = ({ data }) => take(JSON.parse(data));
  feed.addEventListener("settings", ({ data }) => {
    waterfall.budget_s = JSON.parse(data).budget_s ?? BUDGET_S;
    redraw();
  });
}

async function suggest() {
  const response = await fetch("/api/lab/phrases").catch(() => null);
  const phrases = response?.ok ? await response.json() : [];
  if (!phrases.length) return;
  const whole = phrases.filter((phrase) => phrase.split(" ").length > SHORT_WORDS);
  const step = Math.max(1, Math.floor(whole.length / SUGGESTED));
  const some = whole.filter((_, index) => index % step === 0).slice(0, SUGGESTED);
  const list = (texts) => el("ul", {}, ...texts.map((text) => el("li", {}, text)));
  place("phrases").append(list(some), el("details", {}, el("summary", {}, `All ${phrases.length} phrases`), list(phrases)));
  place("phrases").hidden = false;
}

mountTelephone(place("phone"), place("transcript"), {
  onMessage: hear,
  onState: ({ state }) => {
    if (state === "ended" || state === "failed") ownCall = null;
  },
});
follow();
suggest();
mountLab(place("lab"));
