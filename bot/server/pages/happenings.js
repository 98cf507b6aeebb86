/** What happened in a call besides talking: a short list in plain words, newest first. */

import { el } from "./dom.js";
import { paced } from "./pacing.js";
import { PARTS } from "./turns.js";

const KEPT = 40;
const DRAW_MS = 250;
const PART_NAMES = new Map(PARTS.map(({ key, label }) => [key, label.toLowerCase()]));

const STAGE_NAMES = new Map([["stt", "Hearing"], ["llm", "Thinking"], ["tts", "Speaking"]]);
const BREAKERS = { open: ["bad", "is left alone"], half_open: ["plain", "is on trial"], closed: ["good", "is well again"] };

const ACTIONS = { rest: "Taken out of rotation:", return: "Put back into rotation:", reset: "Tried at once:", acknowledge: "Acknowledged:", resolve: "Resolved:", start: "Campaign started:", pause: "Campaign paused:", resume: "Campaign goes on:" };

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
  KeyPressed: () => ["plain", "Key pressed"],
  InputRefused: ({ transport, reason }) => ["warn", `Input refused on ${transport}: ${words(reason)}`],
  LineRestored: ({ after_s }) => ["good", `The line was back after ${after_s.toFixed(1)} s`],
  AttemptFailed: ({ provider, kind, after_s }) => ["warn", `${provider}: ${words(kind)} after ${after_s.toFixed(2)} s`],
  RungChosen: ({ stage, before, after }) => ["warn", `${STAGE_NAMES.get(stage) ?? stage} moved from ${before} to ${after}`],
  StageExhausted: ({ stage }) => ["bad", `${STAGE_NAMES.get(stage) ?? stage}: no provider is left`],
  StageRecovered: ({ stage, down_s }) => ["good", `${STAGE_NAMES.get(stage) ?? stage} back after ${Math.round(down_s)} s`],
  HeldTheLine: ({ turn }) => ["plain", `Turn ${turn}: said something while the answer was late`],
  StepTaken: ({ step }) => ["warn", `Without a provider: ${words(step)}`],
  BreakerMoved: ({ provider, after }) => [BREAKERS[after]?.[0] ?? "plain", `${provider} ${BREAKERS[after]?.[1] ?? words(after)}`],
  Suspected: ({ provider, kind }) => ["warn", `${provider} is suspect: ${words(kind)}`],
  SuspicionCleared: ({ provider }) => ["good", `${provider} is trusted again`],
  RungRested: ({ provider, rest_s }) => ["warn", `${provider} rests for ${rest_s.toFixed(1)} s`],
  ProviderReset: ({ provider }) => ["plain", `${provider} is tried at once, as an operator asked`],
  OperatorActed: ({ action, target, by, why }) => ["plain", `${ACTIONS[action] ?? words(action)} ${target}, by ${by}${why ? `: ${why}` : ""}`],
  CampaignHeld: ({ campaign, reason }) => ["warn", `Campaign ${campaign} is held: ${words(reason)}`],
  CampaignResumed: ({ campaign, held_s }) => ["good", `Campaign ${campaign} goes on after ${Math.round(held_s)} s`],
  CampaignPaused: ({ campaign, reason }) => ["bad", `Campaign ${campaign} paused itself: ${words(reason)}`],
  ShareLost: () => ["warn", "What other processes know of the providers cannot be read"],
  ShareRegained: () => ["good", "Other processes tell again how the providers are"],
  ProcessLagged: ({ lag_s, step }) => ["warn", `We were late ourselves, by ${lag_s.toFixed(2)} s${step ? `: ${step}` : ""}`],
  ContextShortened: ({ how }) => ["plain", `Conversation ${words(how)} to fit the model`],
};

/** The list; feed it journal entries. */
export class Happenings {
  #list;
  #kept;
  #new = []; // not drawn yet
  #soon = paced(() => this.#draw(), DRAW_MS);

  constructor(place, kept = KEPT) {
    this.#kept = kept;
    this.#list = el("ol", { class: "happenings" }, el("li", { class: "empty" }, "Failures, interruptions and tools show here."));
    place.append(this.#list);
  }

  take(entry) {
    if (!WORDS[entry.event]) return;
    const place = this.#new.findLastIndex(({ at }) => at <= entry.at) + 1; // processes tell at their own time
    this.#new.splice(place, 0, entry);
    if (this.#new.length > this.#kept) this.#new.shift();
    this.#soon();
  }

  #draw() {
    this.#list.querySelector(".empty")?.remove();
    for (const entry of this.#new.splice(0)) {
      const older = [...this.#list.children].find((each) => each.dataset.at <= entry.at);
      this.#list.insertBefore(line(entry), older ?? null);
    }
    while (this.#list.children.length > this.#kept) this.#list.lastElementChild.remove();
  }
}

function line(entry) {
  const [tone, text] = WORDS[entry.event](entry);
  const at = el("time", { datetime: entry.at }, new Date(entry.at).toLocaleTimeString());
  return el("li", { "data-tone": tone, "data-at": entry.at }, at, el("span", {}, text));
}

function words(name) {
  return String(name).replaceAll("_", " ");
}
