// Put into the page before its own scripts: keeps every sample that the browser received of the
// agent's voice, as its decoder and jitter buffer gave them to the page.
(() => {
  const QUEUED = 1000; // pieces of 10 ms that may wait for a busy page before any is lost
  // Chromium stretches and squeezes sound while its buffer is fuller or emptier than it should be. A
  // person does not mind; a comparison does. With so much in hand a busy machine does not disturb it.
  const IN_HAND_MS = 1000;
  const pieces = []; // Int16Array, in the order in which they came
  let kept = 0; // samples in them
  let receiver = null;

  const ear = (window.ear = {
    rate: 0,
    count: () => kept,

    /** Return how many samples the browser made up, repeated or left out, from the start of the call. */
    async bent() {
      const bent = ["concealedSamples", "insertedSamplesForDeceleration", "removedSamplesForAcceleration"];
      const stats = [...(await receiver.getStats()).values()].find(({ type }) => type === "inbound-rtp");
      return bent.reduce((sum, name) => sum + stats[name], 0);
    },

    /** Return samples as little-endian 16 bits in base64. */
    async between(first, end) {
      const found = [];
      let at = 0;
      for (const piece of pieces) {
        const [from, until] = [Math.max(first - at, 0), Math.min(end - at, piece.length)];
        if (from < until) found.push(piece.subarray(from, until));
        at += piece.length;
      }
      const reader = new FileReader();
      reader.readAsDataURL(new Blob(found));
      await new Promise((done) => (reader.onload = done));
      return reader.result.slice(reader.result.indexOf(",") + 1);
    },
  });

  const keep = async (track) => {
    const received = new MediaStreamTrackProcessor({ track, maxBufferSize: QUEUED }).readable;
    const reader = received.getReader();
    for (;;) {
      const { value: audio, done } = await reader.read();
      if (done) return;
      const left = new Float32Array(audio.numberOfFrames);
      audio.copyTo(left, { planeIndex: 0, format: "f32-planar" });
      ear.rate = audio.sampleRate;
      audio.close();
      const piece = Int16Array.from(left, (sample) => Math.max(-32768, Math.min(32767, Math.round(sample * 32768))));
      pieces.push(piece);
      kept += piece.length;
    }
  };

  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...settings) {
      super(...settings);
      this.addEventListener("track", (event) => {
        if (event.track.kind !== "audio") return;
        receiver = event.receiver;
        receiver.jitterBufferTarget = IN_HAND_MS;
        keep(event.track);
      });
    }
  };
})();
