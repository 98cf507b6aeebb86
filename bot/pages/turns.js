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

  /** Take one entry in; true when a turn is now shown differently. */
  take(entry) {
    if (entry.event === "AnswerHeard") this.#keep(entry);
    else if (entry.event === "BargedIn") this.#last(entry, (turn) => (turn.bargedIn = true));
    else return false;
    return true;
  }

  /** The turns of a call, oldest first, each {number, parts, v2v_s, bargedIn}. */
  of(callId) {
    return this.#calls.get(callId) ?? [];
  }

  #keep({ call_id, turn, v2v_s, parts }) {
    if (!this.#calls.has(call_id)) this.#calls.set(call_id, []);
    if (this.#calls.size > KEPT_CALLS) this.#calls.delete(this.#calls.keys().next().value);
    const turns = this.#calls.get(call_id);
    turns.push({ number: turn, v2v_s, bargedIn: false, parts: lengths(parts) });
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
