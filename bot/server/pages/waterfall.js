/** The last turns of a call as bars against the latency budget, and as a table. */

import { el, seconds } from "./dom.js";
import { EAR, PARTS } from "./turns.js";

const SHOWN = 6;
const HEADROOM = 1.2;
const STAGES = { stt: "Transcript", llm: "Model", tts: "Voice" };

/** Draws the turns of `Turns`. */
export class Waterfall {
  #chart = el("div", { class: "chart", role: "img" });
  #rows = el("tbody");
  #budget_s;
  #shown;

  /** `shown` is the number of turns to draw, the latest ones. */
  constructor(place, budget_s, shown = SHOWN) {
    this.#budget_s = budget_s;
    this.#shown = shown;
    place.append(this.#chart, legend(), this.#table());
    this.draw([]);
  }

  set budget_s(value) {
    this.#budget_s = value;
  }

  draw(turns) {
    const last = turns.slice(-this.#shown);
    const longest = Math.max(this.#budget_s, ...last.map(({ v2v_s, ear_s }) => v2v_s + (ear_s ?? 0)));
    const scale = longest * HEADROOM;
    const empty = el("p", { class: "empty" }, "No turn yet. Each answer appears here with its times.");
    this.#chart.replaceChildren(...last.map((turn) => this.#row(turn, scale)), last.length ? this.#ruler(scale) : empty);
    this.#chart.setAttribute("aria-label", this.#summary(last));
    this.#rows.replaceChildren(...last.map((turn) => tableRow(turn)));
  }

  #row(turn, scale) {
    const taken = turn.parts.filter(({ length_s }) => length_s > 0);
    if (turn.ear_s !== null) taken.push({ ...EAR, length_s: turn.ear_s });
    const bar = el("div", { class: "bar" }, ...taken.map((part) => segment(part, scale)));
    const over = turn.v2v_s > this.#budget_s;
    const total = el("span", { class: over ? "total over" : "total" }, seconds(turn.v2v_s), el("span", { hidden: !over }, " over"));
    const name = el("span", { class: "name", title: turn.bargedIn ? "The caller spoke over this answer" : null }, `Turn ${turn.number}`);
    const track = el("div", { class: "track" }, bar, ...turn.moves.map((move) => mark(move, turn, scale)));
    return el("div", { class: "turn" }, name, track, total, turn.moves.length ? moves(turn) : null);
  }

  #ruler(scale) {
    const line = el("span", { class: "budget" }, el("span", {}, `${this.#budget_s} s budget`));
    line.style.insetInlineStart = share(this.#budget_s, scale);
    return el("div", { class: "ruler" }, el("div", { class: "track" }, line));
  }

  #summary(turns) {
    if (!turns.length) return "No turn yet";
    return `Budget ${this.#budget_s} s. ` + turns.map((turn) => `Turn ${turn.number}: ${this.#verdict(turn)}`).join(". ");
  }

  #verdict({ v2v_s, ear_s, moves: made }) {
    const moved = made.map((move) => `, ${told(move)}`).join("");
    const ear = ear_s === null ? "" : `, playback adds ${seconds(ear_s)}`;
    return (v2v_s > this.#budget_s ? `${seconds(v2v_s)} over` : seconds(v2v_s)) + ear + moved;
  }

  #table() {
    const heads = ["Turn", ...PARTS.map(({ label }) => label), "Sum", EAR.label].map((text) => el("th", { scope: "col" }, text));
    const caption = el("caption", {}, "Time from the end of the caller’s speech to the start of the agent’s, in seconds");
    const table = el("table", {}, caption, el("thead", {}, el("tr", {}, ...heads)), this.#rows);
    return el("details", {}, el("summary", {}, "As a table"), el("div", { class: "scroll", tabindex: "0" }, table));
  }
}

function segment({ key, label, length_s }, scale) {
  const title = `${label}: ${seconds(length_s)}`;
  const part = el("span", { class: "part", "data-part": key, title }, el("span", {}, length_s.toFixed(2)));
  part.style.width = share(length_s, scale);
  return part;
}

/** A failover at its time in the turn; one after the first sound is at the end of the bar. */
function mark(move, { v2v_s }, scale) {
  const line = el("span", { class: "mark", title: told(move) });
  line.style.insetInlineStart = share(Math.min(move.after_s, v2v_s), scale);
  return line;
}

function moves(turn) {
  return el("ul", { class: "moves" }, ...turn.moves.map((move) => el("li", {}, told(move))));
}

function told({ stage, before, after, after_s }) {
  return `${STAGES[stage] ?? stage}: ${before} → ${after} at ${seconds(after_s)}`;
}

function legend() {
  const items = [...PARTS, EAR].map(({ key, label, says }) =>
    el("li", { title: says }, el("span", { class: "key", "data-part": key }), label),
  );
  return el("ul", { class: "legend", "aria-label": "Parts of a turn" }, ...items);
}

function tableRow(turn) {
  const cells = turn.parts.map(({ length_s }) => el("td", {}, length_s.toFixed(2)));
  const ear = el("td", {}, turn.ear_s === null ? "" : turn.ear_s.toFixed(2));
  return el("tr", {}, el("th", { scope: "row" }, String(turn.number)), ...cells, el("td", {}, turn.v2v_s.toFixed(2)), ear);
}

function share(value, whole) {
  return `${(100 * value) / whole}%`;
}
