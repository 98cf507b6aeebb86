/** The visible telephone: button, state, level, messages, transcript. */

import { Controls } from "./controls.js";
import { clock, el } from "./dom.js";
import { Level } from "./level.js";
import * as resume from "./resume.js";
import { Telephone } from "./telephone.js";
import { Transcript } from "./transcript.js";

const TICK_MS = 250;

const STATES = {
  idle: "Ready to call",
  asking: "Waiting for the microphone…",
  calling: "Calling…",
  in_call: "In a call",
  reconnecting: "Reconnecting…",
  ended: "Call ended",
  lost: "Connection lost",
  failed: "No call",
};

const HELD_BACK = "Your browser blocks the sound. Tap to go on: anywhere on this page.";
const PAUSED = "Your device has paused the call. Tap to go on: anywhere on this page.";
const PHASES = { listening: "Listening", processing: "Thinking", speaking: "Speaking" };

/**
 * Put a telephone into `place` and its transcript into `transcriptPlace`.
 *
 * `onMessage` is called with every message from the server, `onState` with every state of the telephone.
 */
export function mountTelephone(place, transcriptPlace, { onMessage = () => {}, onState = () => {} } = {}) {
  const view = new View(place, transcriptPlace);
  view.phone.addEventListener("message", ({ detail }) => onMessage(detail));
  view.phone.addEventListener("state", ({ detail }) => onState(detail));
}

class View {
  phone = new Telephone();
  #transcript = new Transcript();
  #controls = new Controls(this.phone, (text) => this.#transcript.note(text));
  #level = new Level();
  #startedAt = null;
  #wasLost = false;
  #heldBack = ""; // why nothing is played or sent before a click

  #call = el("button", { type: "button", class: "call", "data-act": "call", onclick: () => this.#press() }, "Call");
  #again = el("button", { type: "button", class: "again", hidden: true, onclick: () => this.#takeUp() });
  #state = el("span", { class: "state" }, STATES.idle);
  #phase = el("span", { class: "phase", hidden: true });
  #time = el("span", { class: "time", role: "timer", "aria-label": "Length of the call" }, clock(0));
  #reason = el("p", { class: "reason", hidden: true });
  #alert = el("div", { role: "alert" });
  #audio = el("audio", { autoplay: true });

  constructor(place, transcriptPlace) {
    const display = el("div", { class: "display" }, el("p", { role: "status" }, this.#state), this.#phase, this.#time);
    const microphone = el("div", { class: "microphone" }, el("span", { class: "label" }, "Microphone"), this.#level.element);
    place.append(display, this.#call, this.#again, microphone, this.#controls.element, this.#reason, this.#alert, this.#audio);
    transcriptPlace.append(this.#transcript.element);
    this.phone.addEventListener("state", ({ detail }) => this.#moved(detail));
    this.phone.addEventListener("microphone", ({ detail }) => this.#level.watch(detail));
    this.phone.addEventListener("voice", ({ detail }) => this.#play(detail));
    this.phone.addEventListener("message", ({ detail }) => this.#heard(detail));
    this.phone.addEventListener("held", ({ detail }) => (detail ? this.#pause() : this.#hold("")));
    this.#audio.addEventListener("pause", () => this.phone.busy && this.#audio.srcObject && this.#pause());
    setInterval(() => this.#tick(), TICK_MS);
    this.#wasLost = resume.resumable() !== null; // the page was reloaded during a call
    this.#tick();
    if (this.#wasLost && performance.getEntriesByType("navigation")[0]?.type === "reload") this.#takeUp();
  }

  #press() {
    if (this.phone.busy) {
      this.phone.hangUp();
      return;
    }
    this.#wasLost = false;
    resume.forget();
    this.#transcript.clear();
    this.phone.call();
  }

  #takeUp() {
    const kept = resume.resumable();
    if (kept) this.phone.call({ resumeToken: kept.token });
  }

  #moved({ state, reason }) {
    document.documentElement.dataset.call = state;
    this.#state.textContent = STATES[state];
    this.#call.textContent = this.phone.busy ? "Hang up" : "Call";
    this.#call.classList.toggle("hang-up", this.phone.busy);
    if (state === "in_call") this.#startedAt ??= Date.now();
    if (state !== "in_call") this.#showPhase(null);
    if (!this.phone.busy) this.#over(state);
    this.#explain(state, reason);
    this.#tick();
  }

  #over(state) {
    this.#startedAt = null;
    this.#level.stop();
    this.#heldBack = "";
    this.#audio.srcObject = null;
    if (state === "lost") this.#wasLost = true;
    if (state === "ended") this.#wasLost = false;
    if (state === "ended") resume.forget();
  }

  #explain(state, reason) {
    const wrong = state === "failed" || state === "lost";
    this.#alert.replaceChildren(...(wrong ? [el("p", {}, reason)] : []));
    const said = reason || this.#heldBack;
    this.#reason.textContent = wrong ? "" : said;
    this.#reason.hidden = wrong || !said;
  }

  #heard(message) {
    if (message.type === "call") resume.remember(message);
    if (message.type === "note") this.#transcript.note(message.text);
    if (message.type === "said") this.#transcript.said(message);
    if (message.type === "entry" && message.event === "PhaseMoved") this.#showPhase(message.after);
    if (message.type === "entry" && message.event === "BargedIn") this.#transcript.note("You spoke over the agent.");
  }

  #showPhase(phase) {
    const name = String(phase ?? "").toLowerCase();
    this.#phase.hidden = !(name in PHASES);
    this.#phase.dataset.phase = name;
    this.#phase.textContent = PHASES[name] ?? "";
  }

  #play(stream) {
    this.#audio.srcObject = stream;
    this.#audio.play().catch((error) => {
      if (error.name !== "NotAllowedError" || !this.phone.busy) return; // AbortError: the call ended during the start
      this.#hold(HELD_BACK);
    });
  }

  /** The device has paused the player or muted the microphone. */
  #pause() {
    this.#hold(PAUSED);
  }

  /** Show why the call waits for a click, or remove that hint and go on. */
  #hold(why) {
    if (why === this.#heldBack) return; // the call is over, or it waits already
    const waits = Boolean(this.#heldBack);
    this.#heldBack = why;
    if (!why) this.#goOn();
    else if (!waits) addEventListener("pointerdown", () => this.#hold(""), { once: true });
    if (this.phone.state !== "reconnecting") this.#explain(this.phone.state, "");
  }

  #goOn() {
    this.#audio.play().catch(() => {});
    if (this.phone.hasMutedMicrophone) this.phone.speakThrough(null).catch(() => {}); // the system may still hold it
  }

  #tick() {
    if (this.#startedAt !== null) {
      this.#time.textContent = clock(Date.now() - this.#startedAt);
      resume.touch();
    }
    const kept = this.#wasLost && !this.phone.busy ? resume.resumable() : null;
    this.#again.hidden = kept === null;
    if (kept) this.#again.textContent = `Resume the call (${Math.ceil(kept.leftMs / 1000)} s)`;
  }
}
