/** The summary: what is unavailable, since when, how many callers got no answer, and what is done meanwhile. */

import { clockTime, drawInPlace, el, since } from "./dom.js";
import { paced } from "./pacing.js";

const DRAW_MS = 250;
const SHOWN = 4;
const NAMED = 3; // in the headline
const FEW = 3; // fewer answers say nothing about speed
const SLOW = 0.1; // if more than this share of the answers is late, they count as slow
const TONES = ["bad", "warn"];
const WEIGHTS = ["LOW", "MEDIUM", "HIGH", "CRITICAL"];
const STAGES = { stt: "Speech recognition", llm: "Language model", tts: "Voice" };

/** The open alerts that the summary shows, the worst first. Of the outage of a whole stage, its providers' are left out. */
export function forSummary(alerts) {
  const open = alerts.filter(({ status }) => status === "open");
  const down = new Set(open.filter(isWhole).map(({ stage }) => stage));
  const weight = ({ severity }) => WEIGHTS.indexOf(severity);
  return open.filter((alert) => isWhole(alert) || !down.has(alert.stage)).sort((one, other) => weight(other) - weight(one)).slice(0, SHOWN);
}

/** The card; pass it the data of the other cards: alerts, rungs, calls, numbers, the connection. */
export class Verdict {
  #known = { alerts: [], rungs: [], calls: [], numbers: {}, lost: null, signedOut: false, problem: "", storeProblem: "" };
  #headline = el("p", { class: "headline", role: "status" }, "Loading…");
  #troubles = el("ol", { class: "troubles" });
  #figures = el("dl", { class: "figures" });
  #soon = paced(() => this.#draw(), DRAW_MS);

  #buttons;

  /** `buttons` returns the buttons of an open alert. */
  constructor(place, buttons) {
    this.#buttons = buttons;
    place.append(this.#headline, this.#troubles, this.#figures);
    setInterval(() => document.hidden || this.#soon(), 1000); // updates "2 min"
  }

  /** Update the data: any of `alerts`, `rungs`, `calls`, `numbers`, `lost`, `signedOut`, `problem`, `storeProblem`. */
  learn(news) {
    Object.assign(this.#known, news);
    this.#soon();
  }

  #draw() {
    const troubles = this.#find();
    const worst = troubles[0]?.tone ?? "good";
    const text = troubles.length ? this.#summary(troubles) : this.#well();
    if (this.#headline.textContent !== text) this.#headline.textContent = text; // screen readers read it out on each change
    this.#headline.dataset.tone = worst;
    const rows = troubles.filter(({ alert }, index) => alert || index < SHOWN).map((trouble) => this.#row(trouble));
    if (troubles.length > rows.length) rows.push(el("li", {}, `and ${troubles.length - rows.length} more below`));
    drawInPlace(this.#troubles, ...rows);
    this.#figures.replaceChildren(...this.#tell());
  }

  #summary(troubles) {
    if (troubles[0].alone) return troubles[0].alone;
    const word = troubles[0].word;
    const names = new Set(troubles.filter((trouble) => trouble.word === word).map(({ name }) => name));
    return `${[...names].slice(0, NAMED).join(", ")}: ${word}`;
  }

  #well() {
    const { calls, rungs } = this.#known;
    if (!rungs.length && !calls.length) return "No data yet.";
    return calls.length ? `All is well. ${counted(calls.length, "call")} in progress.` : "All is well. No calls now.";
  }

  /** Late answers, even if no provider has failed. */
  #slow() {
    const { turns = 0, within = 0, budget_s = 1.5 } = this.#known.numbers;
    if (turns < FEW || turns - within <= SLOW * turns) return [];
    const late = `${turns - within} of ${counted(turns, "answer")} in the last 15 minutes took longer than ${budget_s} s.`;
    return [{ tone: "warn", name: "Answers", word: "slow", title: "Answers are slow", says: late }];
  }

  #find() {
    const { alerts, rungs, lost, signedOut, problem, storeProblem } = this.#known;
    const found = [];
    if (signedOut) found.push({ tone: "bad", name: "You", alone: "You are signed out.", since_ms: lost, says: "The data below is old. Reload this page to sign in." });
    else if (lost) found.push({ tone: "bad", name: "The server", alone: "The server does not answer.", since_ms: lost, says: "The data below is old. Is the process running? Its log shows why it ended." });
    const open = alerts.filter(({ status }) => status === "open");
    const down = new Set(open.filter(isWhole).map(({ stage }) => stage));
    found.push(...forSummary(alerts).map((alert) => this.#ofAlert(alert)));
    const told = ({ stage, name }) => down.has(stage) || open.some((alert) => alert.provider === name && [stage, ""].includes(alert.stage));
    for (const rung of rungs) if (rung.withdrawn || !told(rung)) found.push(...ofRung(rung));
    found.push(...this.#slow());
    if (problem) found.push({ tone: "warn", name: "The database", word: "does not answer", says: problem });
    if (storeProblem) found.push({ tone: "warn", name: "The store", word: "does not answer", says: storeProblem });
    return found.sort((one, other) => TONES.indexOf(one.tone) - TONES.indexOf(other.tone));
  }

  #ofAlert(alert) {
    const bad = WEIGHTS.indexOf(alert.severity) >= WEIGHTS.indexOf("HIGH");
    return {
      alert,
      tone: bad ? "bad" : "warn",
      word: bad ? "unavailable" : "degraded",
      name: alert.provider || STAGES[alert.stage] || alert.stage,
      title: alert.title,
      since_ms: Date.parse(alert.began_at),
      hurt: noAnswer(alert.callers_hurt),
      says: [alert.instead, alert.cure].filter(Boolean).map(sentence).join(" "),
      seen: alert.seen_by && `Acknowledged by ${alert.seen_by}`,
    };
  }

  #row({ alert, tone, name, title, since_ms, hurt, says, seen }) {
    const facts = [since_ms && `since ${clockTime(since_ms)} (${since(since_ms)})`, hurt, says, seen];
    const choices = alert && el("span", { class: "choices" }, ...this.#buttons(alert));
    return el("li", { "data-tone": tone, "data-alert": alert?.key }, el("strong", {}, title ?? name), el("span", {}, facts.filter(Boolean).join(" · ")), choices);
  }

  #tell() {
    const { calls, numbers } = this.#known;
    const { turns = 0, within = 0, budget_s = 1.5, lately, today = null } = numbers;
    const unserved = lately ? lately.hurt + lately.lost : 0;
    const cost = today ? `${today.cost.toFixed(2)} ${today.currency}`.trim() : "unknown";
    return [
      figure("Calls now", String(calls.length)),
      figure(`Within ${budget_s} s`, turns ? `${within} of ${turns} turns` : "no turn yet"),
      figure("Failovers, 15 min", String(lately?.failovers ?? "unknown")),
      figure("Callers without an answer, 15 min", lately ? String(unserved) : "unknown", unserved ? "warn" : null),
      figure("Callers with a degraded answer, 15 min", String(lately?.degraded ?? "unknown")),
      figure("Cost since 0:00 UTC", cost),
    ];
  }
}

/** Whether an alert is about a stage that has no provider left. */
function isWhole({ severity, stage, provider }) {
  return severity === "CRITICAL" && Boolean(stage) && !provider;
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** How many callers got no answer while an alert was open, in words; null if its failure affects none. */
export function noAnswer(callers) {
  return callers === null ? null : `${counted(callers, "caller")} got no answer`;
}

export function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function ofRung(rung) {
  if (rung.withdrawn) return [{ tone: "warn", word: "out of rotation", name: rung.name, title: `${rung.name} is out of rotation`, says: "An operator took it out of rotation. Put it back below." }];
  if (rung.usable && !rung.suspect) return [];
  const last = rung.recent?.last_failure;
  const why = last ? `: ${last.says}` : "";
  const bad = rung.state === "open";
  return [{ tone: bad ? "bad" : "warn", word: bad ? "unavailable" : "suspect", name: rung.name, title: `${rung.name} ${bad ? "is not used" : "is suspect"}${why}`, since_ms: last && Date.parse(last.at) }];
}

function figure(name, value, tone = null) {
  return el("div", { "data-tone": tone }, el("dt", {}, name), el("dd", {}, value));
}
