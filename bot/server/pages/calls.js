/** The calls in progress, one row each, and recent calls. */

import { ask } from "./asking.js";
import { clock, clockTime, drawInPlace, el, seconds } from "./dom.js";
import { every, paced } from "./pacing.js";

const ROWS = 60; // more are counted, not drawn
const DRAW_MS = 300;
const OVER_MS = 2000; // an ended call is in the record by then
const NEWS = new Set(["CallEnded", "RungChosen", "AttemptFailed"]); // these change the list or its counts
const STAGES = ["stt", "llm", "tts"];
const HEADS = ["Caller", "State", "Recognition, model, voice", "Last answer", "Problems", "Length"];
const VERDICTS = ["", "served", "degraded", "hurt", "lost"];
const DOING = { listening: "listening", processing: "thinking", speaking: "speaking" };
const COLUMNS = ["caller", "doing", "served", "waited", "trouble", "length"];

/** The table; pass it all calls whenever they change. */
export class LiveCalls {
  #rows = new Map(); // by call id
  #calls = [];
  #budget_s = 1.5;
  #body = el("tbody", { role: "rowgroup" });
  #table;
  #more = el("p", { class: "hint" });
  #empty = el("p", { class: "empty" }, "No calls now. Each call appears here from its first second, with its providers.");
  #soon = paced(() => this.#draw(), DRAW_MS);

  constructor(place) {
    const heads = HEADS.map((text) => el("th", { scope: "col", role: "columnheader" }, text));
    this.#table = el("table", { class: "calls", role: "table", "aria-label": "Calls in progress", hidden: true }, el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)), this.#body);
    place.append(this.#empty, this.#table, this.#more);
    every(1000, () => this.#soon()); // update the lengths
  }

  set budget_s(value) {
    this.#budget_s = value;
  }

  show(calls) {
    this.#calls = calls;
    this.#soon();
  }

  #draw() {
    const troubled = (call) => VERDICTS.indexOf(call.verdict) * 2 + Number(call.down.length > 0);
    const shown = [...this.#calls].sort((one, other) => troubled(other) - troubled(one)).slice(0, ROWS);
    const ids = new Set(shown.map(({ id }) => id));
    for (const [id, row] of this.#rows) if (!ids.has(id)) this.#drop(id, row);
    shown.forEach((call, index) => this.#place(call, index));
    this.#empty.hidden = this.#calls.length > 0;
    this.#table.hidden = !this.#calls.length;
    const left = this.#calls.length - shown.length;
    this.#more.textContent = left > 0 ? `and ${left} more, without problems` : "";
  }

  #drop(id, row) {
    row.remove();
    this.#rows.delete(id);
  }

  /** Update only the changed cells of a row, so that the focus stays. */
  #place(call, index) {
    const row = this.#rows.get(call.id) ?? this.#add(call);
    const texts = this.#texts(call);
    row.dataset.tone = tone(call.verdict);
    COLUMNS.forEach((name, column) => {
      const cell = name === "caller" ? row.cells[column].firstElementChild : row.cells[column];
      if (cell.textContent !== texts[column]) cell.textContent = texts[column];
    });
    row.cells[3].classList.toggle("over", (call.v2v_s ?? 0) > this.#budget_s);
    if (this.#body.children[index] !== row) this.#body.insertBefore(row, this.#body.children[index] ?? null);
  }

  #add(call) {
    const cells = COLUMNS.map((name, column) => el("td", { role: "cell", class: name, "data-head": HEADS[column] }));
    cells[0].append(el("a", { href: `/calls/${encodeURIComponent(call.id)}` }));
    const row = el("tr", { role: "row", "data-call": call.id }, ...cells);
    this.#rows.set(call.id, row);
    return row;
  }

  #texts(call) {
    const served = STAGES.map((stage) => (call.down.includes(stage) ? "none" : (call.providers[stage] ?? "–"))).join(", ");
    const trouble = [call.verdict !== "served" && call.verdict, call.step_says, call.failovers && `${call.failovers} failover${call.failovers > 1 ? "s" : ""}`, call.last_says];
    return [
      call.caller || call.transport,
      `${DOING[call.state] ?? call.state}${call.turn ? `, turn ${call.turn}` : ""}`,
      served,
      call.v2v_s === null ? "–" : seconds(call.v2v_s),
      trouble.filter(Boolean).join(" · "),
      clock(Date.now() - Date.parse(call.started_at)),
    ];
  }
}

/** Recorded calls, the newest first. */
export class RecentCalls {
  #list = el("ol", { class: "recent" });
  #empty = el("p", { class: "empty" }, "No call has ended yet.");
  #learn;
  #soon = paced(() => this.refresh(), OVER_MS);

  /** `learn` gets the rest of the answer: turns, today's cost. */
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
    call.ended_says,
    call.verdict && (call.why_says ? `${call.verdict}: ${call.why_says}` : call.verdict),
    call.failovers ? `${call.failovers} failover${call.failovers > 1 ? "s" : ""}` : null,
    call.cost === null ? null : `${call.cost.toFixed(3)} ${call.currency}`,
  ];
  const link = el("a", { href: `/calls/${encodeURIComponent(call.id)}` }, call.caller || call.transport);
  const at = el("time", { datetime: call.started_at }, clockTime(call.started_at));
  return el("li", { "data-tone": tone(call.verdict) }, at, link, el("span", {}, facts.filter(Boolean).join(" · ")));
}

/** The colour of what a caller got; a call of before has no verdict. */
function tone(verdict) {
  return { degraded: "warn", hurt: "bad", lost: "bad" }[verdict] ?? "good";
}
