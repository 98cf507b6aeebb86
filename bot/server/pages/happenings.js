/** Events as a short list in plain words, newest first. */

import { clockTime, el } from "./dom.js";
import { paced } from "./pacing.js";
import { PARTS } from "./turns.js";

const KEPT = 40;
const DRAW_MS = 250;
const PART_NAMES = new Map(PARTS.map(({ key, label }) => [key, label.toLowerCase()]));

const STAGE_NAMES = new Map([["stt", "Recognition"], ["llm", "Model"], ["tts", "Voice"]]);
const BREAKERS = { open: ["bad", "is not used for now"], half_open: ["plain", "is being tested"], closed: ["good", "is healthy again"] };

const ACTIONS = { rest: "Taken out of rotation:", return: "Put back into rotation:", reset: "Reset:", acknowledge: "Acknowledged:", resolve: "Resolved:", start: "Campaign started:", import: "Contacts added to campaign:", take_out: "Contact taken out of campaign:", pause: "Campaign paused:", resume: "Campaign resumed:", done: "Done in the inbox:", reopen: "Reopened in the inbox:", hear: "Played:", unmask: "Showed unmasked numbers:", list: "Put on the do-not-call list:", unlist: "Taken off the do-not-call list:" };

const WORDS = {
  CallStarted: ({ transport }) => ["good", `Call answered (${transport})`],
  CallEnded: ({ says, length_s }) => ["plain", `Call ended after ${Math.round(length_s)} s: ${says}`],
  CallRefused: ({ says }) => ["bad", `Call refused: ${says}`],
  CallFailed: ({ where }) => ["bad", `The call failed with an internal error, in ${where}`],
  ProviderFailed: ({ says }) => ["bad", says],
  BudgetMissed: ({ turn, v2v_s, most }) => ["warn", `Turn ${turn} took ${v2v_s.toFixed(2)} s, most of it: ${PART_NAMES.get(most) ?? words(most)}`],
  BargedIn: () => ["plain", "The caller spoke over the agent"],
  CallerSilent: () => ["plain", "The caller is silent; the agent asked"],
  ToolCalled: ({ tool, outcome, took_s }) => [outcome === "ok" ? "plain" : "warn", `Tool ${tool}: ${outcome} in ${took_s.toFixed(2)} s`],
  PersonWanted: () => ["plain", "The caller wants a person"],
  CallbackWanted: ({ when }) => ["plain", `Callback wanted${when ? `: ${when}` : ""}`],
  KeyPressed: () => ["plain", "Key pressed"],
  InputRefused: ({ transport, says }) => ["warn", `Input refused on ${transport}: ${says}`],
  LineRestored: ({ after_s }) => ["good", `The line was restored after ${after_s.toFixed(1)} s`],
  AttemptFailed: ({ says, after_s }) => ["warn", `${says}, after ${after_s.toFixed(2)} s`],
  RungChosen: ({ stage, before, after }) => ["warn", `${STAGE_NAMES.get(stage) ?? stage} moved from ${before} to ${after}`],
  StageExhausted: ({ says }) => ["bad", capital(says)],
  StageRecovered: ({ stage, down_s }) => ["good", `${STAGE_NAMES.get(stage) ?? stage} available again after ${Math.round(down_s)} s`],
  HeldTheLine: ({ turn }) => ["plain", `Turn ${turn}: spoke a filler while the answer was late`],
  TurnJudged: ({ turn, verdict, says }) => [verdict === "hurt" ? "bad" : "warn", `Turn ${turn}: ${verdict}${says ? `, ${says}` : ""}`],
  StepTaken: ({ says }) => ["warn", capital(says)],
  BreakerMoved: ({ provider, after }) => [BREAKERS[after]?.[0] ?? "plain", `${provider} ${BREAKERS[after]?.[1] ?? words(after)}`],
  Suspected: ({ provider, says }) => ["warn", `${provider} is suspect: ${says}`],
  SuspicionCleared: ({ provider }) => ["good", `${provider} is no longer suspect`],
  RungRested: ({ provider, rest_s }) => ["warn", `${provider} is rate limited for ${rest_s.toFixed(1)} s`],
  ProviderReset: ({ provider }) => ["plain", `${provider} may be tried again at once`],
  OperatorActed: ({ action, target, by, why }) => ["plain", `${ACTIONS[action] ?? words(action)} ${target}, by ${by}${why ? `: ${why}` : ""}`],
  DoNotCallWanted: () => ["plain", "The caller wants no more calls and is on the do-not-call list"],
  DoNotCallTakenBack: () => ["plain", "The caller withdrew the opt-out"],
  CampaignHeld: ({ campaign, says }) => ["warn", `Campaign ${campaign} is held: ${says}`],
  CampaignResumed: ({ campaign, held_s }) => ["good", `Campaign ${campaign} resumed after ${Math.round(held_s)} s`],
  CampaignPaused: ({ campaign, says }) => ["bad", `Campaign ${campaign} paused automatically: ${says}`],
  ShareLost: () => ["warn", "Provider health of other processes cannot be read"],
  ShareRegained: () => ["good", "Provider health of other processes can be read again"],
  ProcessLagged: ({ lag_s, step }) => ["warn", `A process lagged by ${lag_s.toFixed(2)} s${step ? `: ${step}` : ""}`],
  ContextShortened: ({ how }) => ["plain", `Conversation ${words(how)} to fit the model`],
};

/** The list; pass it journal entries. */
export class Happenings {
  #list;
  #kept;
  #new = []; // not drawn yet
  #soon = paced(() => this.#draw(), DRAW_MS);

  constructor(place, kept = KEPT) {
    this.#kept = kept;
    this.#list = el("ol", { class: "happenings", tabindex: "0", "aria-label": "Events" }, el("li", { class: "empty" }, "Failures, failovers and tools appear here."));
    place.append(this.#list);
  }

  take(entry) {
    if (!WORDS[entry.event] || (entry.event === "TurnJudged" && entry.verdict === "served")) return;
    const place = this.#new.findLastIndex(({ at }) => at <= entry.at) + 1; // entries of several processes arrive out of order
    this.#new.splice(place, 0, entry);
    if (this.#new.length > this.#kept) this.#new.shift();
    this.#soon();
  }

  #draw() {
    this.#list.querySelector(".empty")?.remove();
    for (const entry of this.#new.splice(0)) {
      const older = [...this.#list.children].find((item) => item.dataset.at <= entry.at);
      this.#list.insertBefore(line(entry), older ?? null);
    }
    while (this.#list.children.length > this.#kept) this.#list.lastElementChild.remove();
  }
}

function line(entry) {
  const [tone, text] = WORDS[entry.event](entry);
  const at = el("time", { datetime: entry.at }, clockTime(entry.at));
  return el("li", { "data-tone": tone, "data-at": entry.at }, at, el("span", {}, text));
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function words(name) {
  return String(name).replaceAll("_", " ");
}
