/** The alerts that are not in the summary, open ones first, with buttons to acknowledge and resolve them. */

import { act, ask, problem } from "./asking.js";
import { clockTime, drawInPlace, el, since } from "./dom.js";
import { every, paced } from "./pacing.js";
import { forSummary, noAnswer } from "./verdict.js";

const POLL_MS = 5000;
const SOON_MS = 1300; // the server decides about new reports within a second
const OVER = 5;
const OPEN = 20;
const NEWS = new Set(["IncidentBegan", "IncidentGrew", "IncidentEnded", "AlertClosed", "BreakerMoved", "Suspected", "SuspicionCleared", "StageExhausted", "StageRecovered", "AttemptFailed", "OperatorActed", "RungChosen"]);

/** The card; pass it the live entries. */
export class Alerts {
  #list = el("ol", { class: "alerts" });
  #said = el("p", { class: "empty" }, "Loading…");
  #learn;
  #soon = paced(() => this.refresh(), SOON_MS);
  #shown = "";

  /** `learn` is called with all alerts after each request. */
  constructor(place, learn) {
    this.#learn = learn;
    place.append(this.#said, this.#list);
    every(POLL_MS, () => this.refresh());
  }

  take({ event }) {
    if (NEWS.has(event)) this.#soon();
  }

  async refresh() {
    const found = await ask("/api/alerts");
    if (!found.ok) {
      this.#say(found.status === 503 ? "The database does not answer, so open alerts are unknown. Check storage.url and its server." : problem(found));
      return;
    }
    this.#learn(found.body);
    const all = found.body.filter(({ status }) => status === "open");
    const above = new Set(forSummary(all));
    const open = all.filter((alert) => !above.has(alert));
    const over = found.body.filter(({ status }) => status !== "open").slice(0, OVER);
    this.#say(open.length ? "" : all.length ? "Open alerts are at the top of this page." : over.length ? "No alert is open." : "No alert yet. Alerts appear here and go to the channels under alerts in the configuration.");
    const shown = [...open.slice(0, OPEN), ...over];
    const now = JSON.stringify(shown);
    if (now !== this.#shown) this.#draw(shown);
    else shown.forEach((alert, index) => this.#tellAgain(alert, this.#list.children[index]));
    this.#shown = now;
  }

  /** Update the durations without redrawing, so that the focus stays. */
  #tellAgain(alert, row) {
    row.querySelector(".told").textContent = told(alert);
  }

  #say(text) {
    this.#said.textContent = text;
    this.#said.hidden = !text;
  }

  #draw(alerts) {
    drawInPlace(this.#list, ...alerts.map((alert) => this.#row(alert)));
  }

  #row(alert) {
    const open = alert.status === "open";
    const buttons = open ? this.buttons(alert) : [];
    const tone = open ? (["HIGH", "CRITICAL"].includes(alert.severity) ? "bad" : "warn") : "good";
    return el("li", { "data-tone": tone, "data-alert": alert.key }, el("strong", {}, alert.title), el("span", { class: "told" }, told(alert)), el("span", { class: "choices" }, ...buttons));
  }

  /** The buttons of an open alert. */
  buttons(alert) {
    return [alert.seen_by ? null : this.#button(alert, "acknowledge", "Acknowledge"), this.#button(alert, "resolve", "Resolve")];
  }

  #button(alert, action, text) {
    const go = async () => {
      const done = await act(`/api/alerts/${encodeURIComponent(alert.key)}/${action}`);
      if (!done.ok) this.#say(problem(done));
      else this.refresh();
    };
    return el("button", { type: "button", "data-act": `${action} ${alert.key}`, "aria-label": `${text}: ${alert.title}`, onclick: go }, text);
  }
}

/** Start, duration, affected callers and what is done about it, in one line. */
function told(alert) {
  const open = alert.status === "open";
  const began = Date.parse(alert.began_at);
  const facts = [
    `${clockTime(began)}${open ? `, for ${since(began)}` : `, lasted ${Math.round(alert.lasted_s ?? 0)} s`}`,
    noAnswer(alert.callers_hurt),
    open && alert.instead,
    open && alert.cure,
    open ? alert.seen_by && `seen by ${alert.seen_by}` : alert.resolved_how,
  ];
  return facts.filter(Boolean).join(" · ");
}
