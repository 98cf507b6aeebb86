/** How long sound takes from the network to the loudspeaker, by the receiver’s own statistics. */

/** What a browser has counted so far; what it does not know counts as nothing. */
async function counted(pc) {
  const stats = [...(await pc.getStats()).values()];
  const audio = stats.find(({ type, kind }) => type === "inbound-rtp" && kind === "audio");
  const playout = stats.find(({ type }) => type === "media-playout");
  const road = stats.find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
  return {
    waited_s: audio?.jitterBufferDelay ?? 0, // of all samples together
    played: audio?.jitterBufferEmittedCount ?? 0,
    madeUp: audio?.concealedSamples ?? 0,
    silentMadeUp: audio?.silentConcealedSamples ?? 0,
    playout_s: playout?.totalPlayoutDelay ?? 0, // of all samples together
    samples: playout?.totalSamplesCount ?? 0,
    roundTrip_s: road?.currentRoundTripTime ?? 0,
  };
}

const RATE_HZ = 48000; // of Opus, in which these samples are counted

/** Measures one stretch of a call after the other. */
export class EarGauge {
  #pc;

  constructor(pc) {
    this.#pc = pc;
  }

  /** Begin a stretch; the function returned ends it, and returns null if nothing was played in it. */
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
