/** What the journals say about the time that each answer took. No page in it. */

/** The parts of an answer in order, as `AnswerHeard.parts` names them; they add up to `v2v_s`. */
export const PARTS = [
  { key: "vad_s", label: "Silence", says: "from the caller’s last sound until the silence was noticed" },
  { key: "transcript_s", label: "Transcript", says: "until the caller’s words were final" },
  { key: "decision_s", label: "Turn end", says: "until it was sure that the caller had finished" },
  { key: "llm_s", label: "Model", says: "until the model’s first word" },
  { key: "tts_s", label: "Voice", says: "until the first synthesised audio" },
  { key: "transport_s", label: "Line", says: "until the first sound was on the caller’s line" },
];

const KEPT_CALLS = 20;
const KEPT_TURNS = 50;

/** The measured answers of all calls. */
export class Turns {
  #calls = new Map();
  #begun = new Map(); // by call: the turn in progress, when it began, and the failovers in it

  /** Take one entry in; true when a turn is now shown differently. */
  take(entry) {
    if (entry.event === "AnswerHeard") this.#keep(entry);
    else if (entry.event === "CallerStopped") return this.#begin(entry);
    else if (entry.event === "RungChosen") return this.#moved(entry);
    else if (entry.event === "BargedIn") this.#last(entry, (turn) => (turn.bargedIn = true));
    else return false;
    return true;
  }

  /** The turns of a call, oldest first, each {number, parts, v2v_s, bargedIn, moves}; a move is {stage, before, after, after_s}. */
  of(callId) {
    return this.#calls.get(callId) ?? [];
  }

  #begin({ call_id, turn, at, at_s, noticed_at_s }) {
    const silent_s = (noticed_at_s ?? at_s) - at_s; // the entry was made when the silence was noticed
    this.#begun.set(call_id, { turn, began_ms: Date.parse(at) - 1000 * silent_s, moves: [] });
    if (this.#begun.size > KEPT_CALLS) this.#begun.delete(this.#begun.keys().next().value);
    return false;
  }

  #moved({ call_id, at, stage, before, after }) {
    const begun = this.#begun.get(call_id);
    if (!begun) return false; // the greeting belongs to no turn
    begun.moves.push({ stage, before, after, after_s: (Date.parse(at) - begun.began_ms) / 1000 });
    return this.of(call_id).some(({ moves }) => moves === begun.moves);
  }

  #keep({ call_id, turn, v2v_s, parts }) {
    if (!this.#calls.has(call_id)) this.#calls.set(call_id, []);
    if (this.#calls.size > KEPT_CALLS) this.#calls.delete(this.#calls.keys().next().value);
    const turns = this.#calls.get(call_id);
    const begun = this.#begun.get(call_id);
    const moves = begun?.turn === turn ? begun.moves : []; // it may yet grow
    turns.push({ number: turn, v2v_s, bargedIn: false, parts: lengths(parts), moves });
    if (turns.length > KEPT_TURNS) turns.shift();
  }

  #last({ call_id, turn: number }, change) {
    const turn = this.of(call_id).findLast((each) => each.number === number);
    if (turn) change(turn);
  }
}

function lengths(parts) {
  return PARTS.map(({ key, label }) => ({ key, label, length_s: parts[key] ?? 0 }));
}
