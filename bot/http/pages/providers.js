/** The providers as the calls find them: which one is at work, and which one is left alone. */

import { el, seconds } from "./dom.js";

const POLL_MS = 2000;
const SOON_MS = 150; // several facts come at once; one question answers them all

const STAGES = new Map([
  ["stt", { title: "Hears the caller", works: "listens now" }],
  ["llm", { title: "Writes the answer", works: "answers now" }],
  ["tts", { title: "Speaks it", works: "speaks now" }],
]);

const CHANGES = new Set([
  "BreakerMoved", "Suspected", "SuspicionCleared", "RungRested", "ProviderProbed", "ProviderReset",
]);

/** The card; feed it the live entries, and say which call is shown. */
export class Providers {
  #place;
  #list = el("div", { class: "rungs" });
  #atWork = new Map(); // by call: stage → the rung that gave its last useful output
  #rungs = [];
  #call = null;
  #asking = 0;

  constructor(place) {
    this.#place = place;
    place.append(this.#list);
    this.#ask();
    setInterval(() => document.hidden || this.#ask(), POLL_MS);
  }

  set call(id) {
    if (id === this.#call) return;
    this.#call = id;
    this.#draw();
  }

  take(entry) {
    const { event, call_id, stage, provider } = entry;
    if (CHANGES.has(event)) this.#askSoon();
    else if (event === "AttemptWon") this.#works(call_id, stage, provider);
    else if (event === "RungChosen") this.#works(call_id, stage, entry.after);
    else if (event === "CallEnded" && this.#atWork.delete(call_id)) this.#draw();
  }

  #works(call, stage, provider) {
    if (!this.#atWork.has(call)) this.#atWork.set(call, new Map());
    this.#atWork.get(call).set(stage, provider);
    if (call === this.#call) this.#draw();
  }

  #askSoon() {
    this.#asking ||= setTimeout(() => this.#ask(), SOON_MS);
  }

  async #ask() {
    clearTimeout(this.#asking);
    this.#asking = 0;
    const response = await fetch("/api/providers").catch(() => null);
    if (!response?.ok) return; // the page's own line says that the server is gone
    this.#rungs = await response.json();
    this.#place.hidden = !this.#rungs.length;
    this.#draw();
  }

  async #reset(name) {
    await fetch(`/api/providers/${encodeURIComponent(name)}/reset`, { method: "POST" }).catch(() => null);
    this.#ask();
  }

  #draw() {
    const focused = document.activeElement?.closest?.("[data-rung]")?.dataset.rung;
    this.#list.replaceChildren(...[...STAGES].map(([stage, words]) => this.#stage(stage, words)));
    if (focused) this.#list.querySelector(`[data-rung="${CSS.escape(focused)}"] button`)?.focus();
  }

  #stage(stage, { title, works }) {
    const atWork = this.#atWork.get(this.#call)?.get(stage);
    const rungs = this.#rungs.filter((rung) => rung.stage === stage);
    const rows = rungs.map((rung) => this.#row(rung, rung.name === atWork ? works : null));
    return el("div", { class: "stage" }, el("h3", {}, title), el("ol", {}, ...rows));
  }

  #row(rung, works) {
    const { tone, text } = condition(rung);
    const name = el("strong", {}, rung.name, works && el("span", { class: "works" }, works));
    const again = el("button", { type: "button", class: "reset", onclick: () => this.#reset(rung.name) }, "Try now");
    again.setAttribute("aria-label", `Try ${rung.name} now`);
    const state = el("span", { class: "condition", "data-tone": tone, title: probed(rung.last_probe) }, text);
    const speed = el("span", { class: "speed", title: "Half of its recent answers began within this" }, seconds(rung.p50_s));
    return el("li", { class: "rung", "data-rung": rung.name, "data-state": rung.state }, name, state, tone === "good" ? speed : again);
  }
}

/** How a rung is, in a word or two. */
function condition({ state, suspect, retired, rests_s, half_opens_in_s }) {
  if (state === "open" && retired) return { tone: "bad", text: "Refuses our key or has no credit" };
  if (state === "open") return { tone: "bad", text: half_opens_in_s ? `Left alone for ${Math.ceil(half_opens_in_s)} s` : "Left alone" };
  if (state === "half_open") return { tone: "warn", text: "On trial" };
  if (rests_s > 0) return { tone: "warn", text: `Rests for ${Math.ceil(rests_s)} s` };
  if (suspect) return { tone: "warn", text: "Suspect" };
  return { tone: "good", text: "Well" };
}

function probed(probe) {
  if (!probe) return "Not probed yet";
  return `Last probe ${Math.round(probe.ago_s)} s ago: ${probe.ok ? "well" : probe.error}`;
}
