/** The time spent in each answer, from journal entries. Independent of the page. */

/** The parts of an answer in order, as `AnswerHeard.parts` names them; they add up to `v2v_s`. */
export const PARTS = [
  { key: "vad_s", label: "Silence", says: "from the end of speech until the silence was detected" },
  { key: "transcript_s", label: "Transcript", says: "until the caller’s words were final" },
  { key: "decision_s", label: "Turn end", says: "until the end of the turn was decided" },
  { key: "llm_s", label: "Model", says: "until the model’s first word" },
  { key: "tts_s", label: "Voice", says: "until the first synthesised audio" },
  { key: "transport_s", label: "Line", says: "until the first audio on the caller’s line" },
];

/** The delay at the caller's end, measured by the browser; not in `v2v_s`, which ends on our side. */
export const EAR = { key: "ear_s", label: "Playback", says: "until the caller’s browser plays it: network, buffer, loudspeaker" };

const KEPT_CALLS = 20;
const KEPT_TURNS = 50;

/** The measured answers of all calls. */
export class Turns {
  #calls = new Map();
  #begun = new Map(); // by call: the turn in progress and the failovers in it
  #kept;

  constructor(kept = KEPT_TURNS) {
    this.#kept = kept; // turns per call
  }

  /** Add an entry; return true if a turn has changed. */
  take(entry) {
    if (entry.event === "AnswerHeard") this.#keep(entry);
    else if (entry.event === "CallerStarted") return this.#begin(entry);
    else if (entry.event === "CallerStopped") return this.#stopped(entry);
    else if (entry.event === "RungChosen") return this.#moved(entry);
    else if (entry.event === "BargedIn") this.#last(entry, (turn) => (turn.bargedIn = true));
    else if (entry.event === "EarMeasured") this.#last(entry, (turn) => (turn.ear_s = entry.network_s + entry.buffer_s + entry.playout_s));
    else return false;
    return true;
  }

  /** The turns of a call, oldest first, each {number, parts, v2v_s, ear_s, bargedIn, moves}; a move is {stage, before, after, after_s}. */
  of(callId) {
    return this.#calls.get(callId) ?? [];
  }

  /** A turn begins when the caller speaks; its time counts from the caller's last sound. */
  #begin({ call_id }) {
    if (this.#begun.get(call_id)?.answered === false) return false; // a pause within the turn
    this.#begun.set(call_id, { since_ms: null, answered: false, moves: [] });
    if (this.#begun.size > KEPT_CALLS) this.#begun.delete(this.#begun.keys().next().value);
    return false;
  }

  #stopped(entry) {
    this.#begin(entry);
    const begun = this.#begun.get(entry.call_id);
    const silent_s = (entry.noticed_at_s ?? entry.at_s) - entry.at_s; // the entry was written when the silence was detected
    begun.since_ms = Date.parse(entry.at) - 1000 * silent_s;
    for (const move of begun.moves) move.after_s = after(move, begun);
    return false;
  }

  #moved({ call_id, at, stage, before, after: next }) {
    const begun = this.#begun.get(call_id);
    if (!begun) return false; // the greeting is outside of turns
    const move = { stage, before, after: next, at_ms: Date.parse(at) };
    begun.moves.push({ ...move, after_s: after(move, begun) });
    return begun.answered;
  }

  #keep({ call_id, turn, v2v_s, parts }) {
    if (!this.#calls.has(call_id)) this.#calls.set(call_id, []);
    if (this.#calls.size > KEPT_CALLS) this.#calls.delete(this.#calls.keys().next().value);
    const turns = this.#calls.get(call_id);
    const begun = this.#begun.get(call_id);
    if (begun) begun.answered = true;
    const moves = begun?.moves ?? []; // it may still grow
    turns.push({ number: turn, v2v_s, ear_s: null, bargedIn: false, parts: lengths(parts), moves });
    if (turns.length > this.#kept) turns.shift();
  }

  #last({ call_id, turn: number }, change) {
    const turn = this.of(call_id).findLast((one) => one.number === number);
    if (turn) change(turn);
  }
}

/** Seconds from the caller's last sound to a failover; 0 for one before it. */
function after({ at_ms }, { since_ms }) {
  return since_ms === null ? 0 : Math.max(0, (at_ms - since_ms) / 1000);
}

function lengths(parts) {
  return PARTS.map(({ key, label }) => ({ key, label, length_s: parts[key] ?? 0 }));
}
