/** What happened in a call besides talking: a short list in plain words, newest first. */

import { el } from "./dom.js";
import { PARTS } from "./turns.js";

const KEPT = 40;
const PART_NAMES = new Map(PARTS.map(({ key, label }) => [key, label.toLowerCase()]));

const WORDS = {
  CallStarted: ({ transport }) => ["good", `Call answered (${transport})`],
  CallEnded: ({ reason, length_s }) => ["plain", `Call over after ${Math.round(length_s)} s: ${words(reason)}`],
  CallRefused: ({ reason }) => ["bad", `Call refused: ${words(reason)}`],
  CallFailed: ({ where }) => ["bad", `The call failed on our side, in ${where}`],
  ProviderFailed: ({ provider, error }) => ["bad", `${provider} failed: ${error}`],
  BudgetMissed: ({ turn, v2v_s, most }) => ["warn", `Turn ${turn} took ${v2v_s.toFixed(2)} s, most of it: ${PART_NAMES.get(most) ?? words(most)}`],
  BargedIn: () => ["plain", "The caller spoke over the agent"],
  CallerSilent: () => ["plain", "The caller is silent; asked gently"],
  ToolCalled: ({ tool, outcome, took_s }) => [outcome === "ok" ? "plain" : "warn", `Tool ${tool}: ${outcome} in ${took_s.toFixed(2)} s`],
  PersonWanted: () => ["plain", "The caller wants a person"],
  CallbackWanted: ({ when }) => ["plain", `Call back wanted${when ? `: ${when}` : ""}`],
  KeyPressed: ({ key }) => ["plain", `Key ${key} pressed`],
  InputRefused: ({ transport, reason }) => ["warn", `Input refused on ${transport}: ${words(reason)}`],
  ContextShortened: ({ how }) => ["plain", `Conversation ${words(how)} to fit the model`],
};

/** The list; feed it journal entries. */
export class Happenings {
  #list;

  constructor(place) {
    this.#list = el("ol", { class: "happenings" }, el("li", { class: "empty" }, "Failures, interruptions and tools show here."));
    place.append(this.#list);
  }

  take(entry) {
    const say = WORDS[entry.event];
    if (!say) return;
    const [tone, text] = say(entry);
    this.#list.querySelector(".empty")?.remove();
    const at = el("time", { datetime: entry.at }, new Date(entry.at).toLocaleTimeString());
    this.#list.prepend(el("li", { "data-tone": tone }, at, el("span", {}, text)));
    while (this.#list.children.length > KEPT) this.#list.lastElementChild.remove();
  }
}

function words(name) {
  return String(name).replaceAll("_", " ");
}
