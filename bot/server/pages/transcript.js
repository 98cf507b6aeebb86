/** A live transcript of both sides. */

import { el } from "./dom.js";

const COLOURS = 3;
const NAMES = { caller: "You", agent: "Agent" };

/**
 * The utterances in order. A line that is still growing is hidden from screen readers and replaced by a
 * finished one, so that each utterance is read out once and whole.
 */
export class Transcript {
  #growing = { caller: null, agent: null };
  #empty = el("p", { class: "empty" }, "What you and the agent say appears here.");
  #list = el("div", { class: "transcript", role: "log", "aria-label": "Transcript", tabindex: "0" }, this.#empty);

  get element() {
    return this.#list;
  }

  clear() {
    this.#growing = { caller: null, agent: null };
    this.#list.replaceChildren(this.#empty);
  }

  /** Show `text`, the whole of an utterance so far; `final` closes it; `voices` has the provider of each part. */
  said({ who, text, final, voices = [] }) {
    if (!(who in NAMES)) return;
    const stays = this.#atEnd();
    const before = this.#growing[who];
    if (!text) before?.remove();
    else this.#put(before, line({ who, text, final, voices }));
    this.#growing[who] = text && !final ? this.#list.querySelector(`[data-who=${who}].growing`) : null;
    if (stays) this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** Insert a note. */
  note(text) {
    const stays = this.#atEnd();
    this.#put(null, el("p", { class: "note" }, text));
    if (stays) this.#list.scrollTop = this.#list.scrollHeight;
  }

  #put(before, next) {
    this.#empty.remove();
    if (before) before.replaceWith(next);
    else this.#list.append(next);
  }

  #atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    return scrollHeight - scrollTop - clientHeight < 40; // px, about a line; otherwise the user reads further up
  }
}

function line({ who, text, final, voices }) {
  const attributes = { class: final ? "said" : "said growing", "data-who": who };
  if (!final) attributes["aria-hidden"] = "true";
  const whole = voices.map(({ words }) => words).join(" ") === text; // otherwise the words cannot be assigned
  const parts = whole && voices.length > 1 ? voices.map(voice) : [text];
  const speakers = parts.length > 1 ? el("span", { class: "speakers" }, ...voices.map(speaker)) : null;
  return el("div", attributes, el("span", { class: "who" }, NAMES[who]), el("span", { class: "words" }, ...parts), speakers);
}

/** The words that one provider spoke, with a space before them unless they are first. */
function voice({ provider, words }, index) {
  const spoken = el("span", { class: "voice", "data-voice": String(index % COLOURS), title: `Spoken by ${provider}` }, words);
  return index ? el("span", {}, " ", spoken) : spoken;
}

function speaker({ provider }, index) {
  return el("span", { class: "voice", "data-voice": String(index % COLOURS) }, provider);
}
