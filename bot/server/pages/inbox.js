/** The inbox: the callbacks that callers were promised, and the messages that they left. */

import { act, ask, problem } from "./asking.js";
import { clock, dayTime, drawInPlace, el, readOnly } from "./dom.js";
import { every } from "./pacing.js";

const PAGE = 50;
const AGAIN_MS = 15_000;
const numbers = new Map(); // shown in this page, by call id

const place = (id) => document.getElementById(id);

function state(text, on) {
  place("state").textContent = text;
  place("state").dataset.on = String(on);
}

/** One of the two lists; older entries follow on request. */
class Entries {
  #list = el("ol", { class: "inbox" });
  #empty;
  #more = el("button", { type: "button", hidden: true, onclick: () => this.#older() }, "Show older");
  #query;
  #entries = []; // newest first
  #limit = PAGE;

  constructor(card, query, empty) {
    this.#query = query;
    this.#empty = el("p", { class: "empty", hidden: true }, empty);
    card.append(this.#empty, this.#list, el("div", { class: "choices" }, this.#more));
  }

  /** Return the response, or a sentence with the problem. */
  async look() {
    const found = await ask(`/api/inbox?${this.#query}limit=${this.#limit}`);
    if (!found.ok) return problem(found);
    const { body } = found;
    this.#entries = body.entries;
    this.#empty.hidden = body.entries.length > 0;
    this.#more.hidden = body.entries.length < this.#limit || this.#limit >= 200;
    drawInPlace(this.#list, ...this.#entries.map(row));
    return body;
  }

  #older() {
    this.#limit = Math.min(200, this.#limit + PAGE);
    look();
  }
}

const waiting = new Entries(place("waiting"), "", "No entry is waiting.");
const done = new Entries(place("done"), "done=true&", "Nothing is done yet.");

async function look() {
  const [found] = await Promise.all([waiting.look(), done.look()]);
  if (typeof found === "string") return state(found, false);
  const count = found.waiting;
  state(`${count === 1 ? "1 entry waits" : `${count} entries wait`}`, true);
  document.title = `${count ? `(${count}) ` : ""}Inbox · Holdline`;
}

function row(entry) {
  const { kind, call_id: id, at, text, campaign, agent, length_s: length, done_at: over } = entry;
  const what = kind === "callback" ? "Callback" : "Message";
  const facts = [
    agent,
    length === null ? null : clock(1000 * length),
    campaign && `the campaign ${campaign} calls back`,
    over && `done ${dayTime(over)}`,
  ].filter(Boolean);
  return el(
    "li",
    { "data-act": `${kind} ${id}` },
    el("div", { class: "what" }, el("strong", {}, what), el("time", { datetime: at }, dayTime(at)), el("a", { href: `/calls/${encodeURIComponent(id)}`, "aria-label": `The call of this ${kind}` }, "The call")),
    el("p", { class: "text" }, text || (kind === "message" ? "Not transcribed yet." : "No reason was given.")),
    facts.length ? el("p", { class: "hint" }, facts.join(" · ")) : null,
    entry.recorded ? sound(entry) : null,
    el("div", { class: "choices" }, number(entry), close(entry)),
  );
}

function sound({ kind, call_id: id }) {
  if (readOnly) return el("p", { class: "hint" }, "Playing the message needs HOLDLINE_TOKEN.");
  const unheard = () => state("The message cannot be played; it needs HOLDLINE_TOKEN", false);
  return el("audio", { controls: true, preload: "none", onerror: unheard, src: `/api/inbox/${kind}/${encodeURIComponent(id)}/audio`, "aria-label": "Play this message" });
}

/** The masked number; a click shows the complete one, which the server records. */
function number({ kind, call_id: id, number: hidden }) {
  if (!hidden) return el("span", { class: "hint" }, "Number withheld");
  const known = numbers.get(id);
  if (known) return el("a", { href: `tel:${known}`, "data-act": `tel ${id}` }, known);
  const show = async () => {
    const found = await act(`/api/inbox/${kind}/${encodeURIComponent(id)}/number`);
    if (!found.ok) return state(problem(found), false);
    numbers.set(id, found.body.number);
    await look();
    document.querySelector(`[data-act="tel ${CSS.escape(id)}"]`)?.focus();
  };
  return el("button", { type: "button", "data-act": `number ${kind} ${id}`, onclick: show }, `${hidden} · show`);
}

function close({ kind, call_id: id, done_at: over }) {
  const name = over ? "reopen" : "done";
  const change = async () => {
    const found = await act(`/api/inbox/${kind}/${encodeURIComponent(id)}/${name}`);
    if (!found.ok) return state(problem(found), false);
    await look();
  };
  return el("button", { type: "button", "data-act": `${name} ${kind} ${id}`, onclick: change }, over ? "Not done yet" : "Done");
}

look();
every(AGAIN_MS, look);
