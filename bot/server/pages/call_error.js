/** A call failed; the message is a sentence for the caller. */
export class CallError extends Error {
  /** `status` is the HTTP status; 0 without an answer. */
  constructor(sentence, { cause, status = 0 } = {}) {
    super(sentence, { cause });
    this.status = status;
  }
}
