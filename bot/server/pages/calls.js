/** The calls in progress, one row each, and recent calls. */

import { ask } from "./asking.js";
import { heads, link, row, tone } from "./call_columns.js";
import { clock, clockTime, drawInPlace, el, seconds } from "./dom.js";
import { every, paced } from "./pacing.js";

const ROWS = 60; // more are counted, not drawn
const DRAW_MS = 300;
const OVER_MS = 2000; // an ended call is in the record by then
const RECORDED_MS = 20_000;
const LOOKED_UP = 200; // the latest calls, among which ours are looked up
const NEWS = new Set(["CallEnded", "RungChosen", "AttemptFailed"]); // these change the list or its counts
const STAGES = ["stt", "llm", "tts"];
const WRITTEN = ["began", "name", "agent", "length", "doing", "waited", "trouble", "served", "machine", "verdict"];
const VERDICTS = ["", "served", "degraded", "hurt", "lost"];
const WELL = new Set(["", "served"]);
const DOING = { listening: "listening", processing: "thinking", speaking: "speaking" };

/** The table; pass it all calls whenever they change. */
export class LiveCalls {
  #rows = new Map(); // by call id
  #parties = new Map(); // by call id: name and campaign of an outbound call
  #calls = [];
  #budget_s = 1.5;
  #body = el("tbody", { role: "rowgroup" });
  #table;
  #more = el("p", { class: "hint" });
  #empty = el("p", { class: "empty" }, "No calls now. Each call appears here from its first second, with its providers.");
  #soon = paced(() => this.#draw(), DRAW_MS);
  #learn = paced(() => this.#lookUp(), OVER_MS);

  constructor(place) {
    this.#table = el("table", { class: "calls", role: "table", "aria-label": "Calls in progress", hidden: true }, heads(), this.#body);
    place.append(this.#empty, this.#table, this.#more);
    every(1000, () => this.#soon()); // update the lengths
  }

  set budget_s(value) {
    this.#budget_s = value;
  }

  show(calls) {
    this.#calls = calls;
    this.#soon();
    if (this.#unknown().length) this.#learn();
  }

  #unknown() {
    return this.#calls.filter(({ id, direction }) => direction === "outbound" && !this.#parties.has(id));
  }

  /** Look up in the record whom we called, and for which campaign. */
  async #lookUp() {
    const wanted = this.#unknown();
    const { ok, body } = await ask(`/api/calls/search?limit=${LOOKED_UP}`);
    if (!ok) return;
    const live = new Set(this.#calls.map(({ id }) => id));
    for (const id of this.#parties.keys()) if (!live.has(id)) this.#parties.delete(id);
    const found = new Map(body.calls.map((call) => [call.id, call]));
    const old = Date.now() - RECORDED_MS; // a call's row is written by then
    for (const { id, started_at: began } of wanted) {
      if (found.has(id)) this.#parties.set(id, found.get(id));
      else if (Date.parse(began) < old) this.#parties.set(id, {});
    }
    this.#soon();
  }

  #draw() {
    const troubled = (call) => VERDICTS.indexOf(call.verdict) * 2 + Number(call.down.length > 0);
    const ordered = [...this.#calls].sort((one, other) => troubled(other) - troubled(one));
    const shown = ordered.slice(0, ROWS);
    const rest = ordered.slice(ROWS);
    const ids = new Set(shown.map(({ id }) => id));
    for (const [id, drawn] of this.#rows) if (!ids.has(id)) this.#drop(id, drawn);
    shown.forEach((call, index) => this.#place(call, index));
    this.#empty.hidden = this.#calls.length > 0;
    this.#table.hidden = !this.#calls.length;
    const hurt = rest.filter(({ verdict, down }) => !WELL.has(verdict) || down.length).length;
    const problems = hurt ? `${hurt} of them with problems` : "without problems";
    this.#more.textContent = rest.length ? `and ${rest.length} more, ${problems}` : "";
  }

  #drop(id, drawn) {
    drawn.remove();
    this.#rows.delete(id);
  }

  /** Update only what has changed in a row, so that the focus stays. */
  #place(call, index) {
    const drawn = this.#rows.get(call.id) ?? this.#add(call);
    const texts = this.#texts(call);
    drawn.dataset.tone = tone(call.verdict);
    for (const name of WRITTEN) {
      const place = drawn.querySelector(`.${name}`);
      if (place.textContent !== texts[name]) place.textContent = texts[name];
    }
    drawn.querySelector(".waited").classList.toggle("over", (call.v2v_s ?? 0) > this.#budget_s);
    if (this.#body.children[index] !== drawn) this.#body.insertBefore(drawn, this.#body.children[index] ?? null);
  }

  #add(call) {
    const result = ["doing", "waited", "trouble", "served", "machine"].map((name) => el("span", { class: name }));
    const drawn = row({ number: link(call), result }, { "data-call": call.id });
    this.#rows.set(call.id, drawn);
    return drawn;
  }

  #texts(call) {
    const { name = "", campaign = "" } = this.#parties.get(call.id) ?? {};
    const trouble = [call.kept === false && "not kept: ends if this machine fails", call.step_says, call.failovers && `${call.failovers} failover${call.failovers > 1 ? "s" : ""}`, call.last_says];
    return {
      began: clockTime(call.started_at),
      name,
      agent: campaign || call.agent,
      length: clock(Date.now() - Date.parse(call.started_at)),
      doing: `${DOING[call.state] ?? call.state}${call.turn ? `, turn ${call.turn}` : ""}`,
      waited: call.v2v_s === null ? "" : `last answer after ${seconds(call.v2v_s)}`,
      trouble: trouble.filter(Boolean).join(" · "),
      served: STAGES.map((stage) => (call.down.includes(stage) ? "none" : (call.providers[stage] ?? "–"))).join(", "),
      machine: call.machine ? `machine ${call.machine}` : "",
      verdict: call.verdict || "–",
    };
  }
}

/** Recorded calls, the newest first. */
export class RecentCalls {
  #list = el("ol", { class: "recent" });
  #empty = el("p", { class: "empty" }, "No call has ended yet.");
  #learn;
  #soon = paced(() => this.refresh(), OVER_MS);

  /** `learn` is called with the whole response, which also has turns and today's cost. */
  constructor(place, learn) {
    place.append(this.#empty, this.#list);
    this.#learn = learn;
    every(15_000, () => this.refresh());
  }

  take({ event }) {
    if (NEWS.has(event)) this.#soon();
  }

  async refresh() {
    const { ok, body } = await ask("/api/calls?limit=12");
    if (!ok) return;
    this.#learn(body);
    drawInPlace(this.#list, ...body.recent.map(over));
    this.#empty.hidden = body.recent.length > 0;
    this.#empty.textContent = body.problem || "No call has ended yet.";
  }
}

function over(call) {
  const facts = [
    call.length_s === null ? null : clock(1000 * call.length_s),
    call.agent,
    call.ended_says,
    call.verdict && (call.why_says ? `${call.verdict}: ${call.why_says}` : call.verdict),
    call.failovers ? `${call.failovers} failover${call.failovers > 1 ? "s" : ""}` : null,
    call.cost === null ? null : `${call.cost.toFixed(3)} ${call.currency}`,
  ];
  const other = call.direction === "outbound" ? call.called : call.caller;
  const party = el("a", { href: `/calls/${encodeURIComponent(call.id)}` }, other || call.transport);
  const at = el("time", { datetime: call.started_at }, clockTime(call.started_at));
  return el("li", { "data-tone": tone(call.verdict) }, at, party, el("span", {}, facts.filter(Boolean).join(" · ")));
}
