/** The providers: which one is in use, health and speed of each. */

import { act, ask, problem } from "./asking.js";
import { clockTime, drawInPlace, el, seconds } from "./dom.js";
import { every, paced } from "./pacing.js";
import { askWhy } from "./reason_dialog.js";

const POLL_MS = 2000;
const SOON_MS = 150; // events come in groups; one request covers a group
const DRAW_MS = 250;

const STAGES = new Map([
  ["stt", { title: "Speech recognition", works: "in use" }],
  ["llm", { title: "Language model", works: "in use" }],
  ["tts", { title: "Voice", works: "in use" }],
]);

const CHANGES = new Set([
  "BreakerMoved", "Suspected", "SuspicionCleared", "RungRested", "ProviderProbed", "ProviderReset", "OperatorActed",
]);

/** The card; pass it the live entries, the calls in progress, and the shown call. */
export class Providers {
  #place;
  #list = el("div", { class: "rungs" });
  #said = el("p", { class: "problem", role: "status" });
  #atWork = new Map(); // in the shown call: stage → the rung with the latest useful output
  #serves = new Map(); // rung → number of calls
  #rungs = [];
  #call = null;
  #learn;
  #askSoon = paced(() => this.#ask(), SOON_MS);
  #drawSoon = paced(() => this.#draw(), DRAW_MS);

  /** `learn` is called with all rungs after each request. */
  constructor(place, learn = () => {}) {
    this.#place = place;
    this.#learn = learn;
    place.append(this.#list, this.#said);
    this.#ask();
    every(POLL_MS, () => this.#ask());
  }

  set call(id) {
    if (id === this.#call) return;
    this.#call = id;
    this.#atWork.clear();
    this.#drawSoon();
  }

  take(entry) {
    const { event, call_id, stage, provider } = entry;
    if (CHANGES.has(event)) this.#askSoon();
    else if (event === "AttemptWon") this.#works(call_id, stage, provider);
    else if (event === "RungChosen") this.#works(call_id, stage, entry.after);
    else if (event === "CallEnded" && call_id === this.#call) this.call = null;
  }

  /** Show how many calls each rung serves. */
  show(calls) {
    this.#serves.clear();
    for (const { providers } of calls) {
      for (const name of Object.values(providers)) this.#serves.set(name, (this.#serves.get(name) ?? 0) + 1);
    }
    this.#drawSoon();
  }

  #works(call, stage, provider) {
    if (call !== this.#call) return;
    this.#atWork.set(stage, provider);
    this.#drawSoon();
  }

  async #ask() {
    const { ok, body } = await ask("/api/providers");
    if (!ok) return; // the page shows elsewhere that the server does not answer
    this.#rungs = body;
    this.#learn(body);
    this.#place.hidden = !body.length;
    this.#draw();
  }

  async #do(name, action, word = {}) {
    const done = await act(`/api/providers/${encodeURIComponent(name)}/${action}`, word);
    this.#said.textContent = done.ok ? "" : problem(done);
    await this.#ask();
    return done.ok ? "" : problem(done);
  }

  #takeOut(name) {
    askWhy({
      title: `Take ${name} out of rotation?`,
      says: "Calls in progress skip it from their next turn on, until an operator puts it back. Probes go on.",
      confirm: "Take out of rotation",
      act: (word) => this.#do(name, "rest", word),
    });
  }

  #draw() {
    drawInPlace(this.#list, ...[...STAGES].map(([stage, words]) => this.#stage(stage, words)));
  }

  #stage(stage, { title, works }) {
    const atWork = this.#atWork.get(stage);
    const rungs = this.#rungs.filter((rung) => rung.stage === stage);
    const rows = rungs.map((rung) => this.#row(rung, rung.name === atWork ? works : null));
    return el("div", { class: "stage" }, el("h3", {}, title), el("ol", {}, ...rows));
  }

  #row(rung, works) {
    const { tone, text } = condition(rung);
    const calls = this.#serves.get(rung.name) ?? 0;
    const serves = calls ? el("span", { class: "serves" }, calls === 1 ? "1 call" : `${calls} calls`) : null;
    const name = el("strong", {}, rung.name, works && el("span", { class: "works" }, works), serves);
    const state = el("span", { class: "condition", "data-tone": tone, title: probed(rung.last_probe) }, text);
    const choices = el("span", { class: "choices" }, ...this.#choices(rung, tone));
    return el("li", { class: "rung", "data-rung": rung.name, "data-state": rung.state }, name, state, choices, el("span", { class: "speed" }, figures(rung)));
  }

  #choices(rung, tone) {
    const button = (action, text, onclick) =>
      el("button", { type: "button", class: "reset", "data-act": `${action} ${rung.name}`, "aria-label": `${text}: ${rung.name}`, onclick }, text);
    if (rung.withdrawn) return [button("return", "Put back into rotation", () => this.#do(rung.name, "return"))];
    const out = button("rest", "Take out of rotation", () => this.#takeOut(rung.name));
    const again = button("reset", "Try now", () => this.#do(rung.name, "reset"));
    return tone === "good" ? [out] : [again, out];
  }
}

/** The condition of a rung, in a few words. */
function condition({ state, suspect, retired, withdrawn, rests_s, half_opens_in_s }) {
  if (withdrawn) return { tone: "warn", text: "Out of rotation" };
  if (state === "open" && retired) return { tone: "bad", text: "Rejects our key or has no credit" };
  if (state === "open") return { tone: "bad", text: half_opens_in_s ? `Not used for ${Math.ceil(half_opens_in_s)} s` : "Not used" };
  if (state === "half_open") return { tone: "warn", text: "Being tested" };
  if (rests_s > 0) return { tone: "warn", text: `Rate limited for ${Math.ceil(rests_s)} s` };
  if (suspect) return { tone: "warn", text: "Suspect" };
  return { tone: "good", text: "Healthy" };
}

/** Recent figures of a rung, as measured: answer delays, failures, last failure. */
function figures({ recent }) {
  if (!recent?.answers && !recent?.last_failure) return "no answer in the last 15 minutes";
  const { answers, failures, last_failure: last } = recent;
  const parts = [
    answers ? `half within ${seconds(recent.p50_s)}, 19 of 20 within ${seconds(recent.p95_s)}` : "no recent answer",
    failures ? `${failures} failed` : null,
    last ? `last failure ${clockTime(last.at)}: ${last.says}` : null,
  ];
  return parts.filter(Boolean).join(" · ");
}

function probed(probe) {
  if (!probe) return "Not probed yet";
  return `Last probe ${Math.round(probe.ago_s)} s ago: ${probe.ok ? "ok" : probe.error}`;
}
