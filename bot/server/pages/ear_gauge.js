/** Measures the delay from the network to the loudspeaker from the receiver’s statistics. */

/** The browser's counters so far; missing ones are 0. */
async function counted(pc) {
  const stats = [...(await pc.getStats()).values()];
  const audio = stats.find(({ type, kind }) => type === "inbound-rtp" && kind === "audio");
  const playout = stats.find(({ type }) => type === "media-playout");
  const path = stats.find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
  return {
    waited_s: audio?.jitterBufferDelay ?? 0, // sum over all samples
    played: audio?.jitterBufferEmittedCount ?? 0,
    madeUp: audio?.concealedSamples ?? 0,
    silentMadeUp: audio?.silentConcealedSamples ?? 0,
    playout_s: playout?.totalPlayoutDelay ?? 0, // sum over all samples
    samples: playout?.totalSamplesCount ?? 0,
    roundTrip_s: path?.currentRoundTripTime ?? 0,
  };
}

const RATE_HZ = 48000; // Opus samples

/** Measures one period of a call at a time. */
export class EarGauge {
  #pc;

  constructor(pc) {
    this.#pc = pc;
  }

  /** Begin a period. The returned function ends it and returns the figures; null if nothing was played. */
  async begin() {
    const before = await counted(this.#pc);
    return async () => {
      const after = await counted(this.#pc);
      const more = (name) => after[name] - before[name];
      if (more("played") <= 0) return null;
      return {
        buffer_s: rounded(more("waited_s") / more("played")),
        playout_s: rounded(more("samples") > 0 ? more("playout_s") / more("samples") : 0),
        network_s: rounded(after.roundTrip_s / 2),
        made_up_s: rounded((more("madeUp") - more("silentMadeUp")) / RATE_HZ),
      };
    };
  }
}

function rounded(seconds) {
  return Math.max(0, Math.round(seconds * 10000) / 10000);
}
