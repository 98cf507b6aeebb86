/** Why a call could not be made, in a sentence for the person who wanted to make it. */
export class CallError extends Error {
  /** `status` is the server's, where it gave one. */
  constructor(sentence, { cause, status = 0 } = {}) {
    super(sentence, { cause });
    this.status = status;
  }
}
