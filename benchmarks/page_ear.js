// Runs in the page before its own scripts. Replaces the microphone with one that plays given audio, and
// records the received audio and when its sounds begin, by the page's own clock.
(() => {
  const AUDIBLE = 164 / 32768; // as in transports/leg_output.py: above comfort noise, below any syllable
  const GAP_MS = 300; // after this much silence, the next sound counts as new
  const QUEUED = 1000;

  let context, microphone;
  navigator.mediaDevices.getUserMedia = async () => {
    if (!context) {
      context = new AudioContext();
      microphone = context.createMediaStreamDestination();
      const hiss = new ConstantSourceNode(context, { offset: 1e-5 }); // without input, no RTP would be sent
      hiss.connect(microphone);
      hiss.start();
    }
    return microphone.stream.clone();
  };

  // Plays the audio to its end; returns when it began.
  window.say = async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const buffer = await context.decodeAudioData(bytes.buffer);
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(microphone);
    source.start();
    const began = performance.now();
    await new Promise((done) => (source.onended = done));
    return began;
  };

  // The received audio, as Int16Array pieces; `take` returns those since its last call, in base64.
  // `startedAt` is the time of the first sample: the earliest estimate, as some samples are read late.
  const ear = (window.ear = { rate: 0, pieces: [], startedAt: 0 });
  ear.take = async () => {
    const reader = new FileReader();
    reader.readAsDataURL(new Blob(ear.pieces.splice(0)));
    await new Promise((done) => (reader.onload = done));
    return reader.result.slice(reader.result.indexOf(",") + 1);
  };

  const onsets = (window.onsets = []); // when each sound began
  window.audibleAt = 0; // when audible sound was last received
  const listen = async (track) => {
    const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: QUEUED }).readable.getReader();
    let read = 0;
    for (;;) {
      const { value: audio, done } = await reader.read();
      if (done) return;
      const left = new Float32Array(audio.numberOfFrames);
      audio.copyTo(left, { planeIndex: 0, format: "f32-planar" });
      ear.rate = audio.sampleRate;
      audio.close();
      const startedAt = performance.now() - (read += left.length) / ear.rate * 1000;
      ear.startedAt = Math.min(ear.startedAt || startedAt, startedAt);
      if (window.keepsSound) ear.pieces.push(Int16Array.from(left, (sample) => Math.max(-32768, Math.min(32767, Math.round(sample * 32768)))));
      if (!left.some((sample) => Math.abs(sample) > AUDIBLE)) continue;
      const now = performance.now();
      if (now - window.audibleAt > GAP_MS) onsets.push(now);
      window.audibleAt = now;
    }
  };

  const told = (window.told = []); // what the server said about its call
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...settings) {
      super(...settings);
      this.addEventListener("track", ({ track }) => track.kind === "audio" && listen(track));
    }
    createDataChannel(...settings) {
      const channel = super.createDataChannel(...settings);
      channel.addEventListener("message", ({ data }) => told.push(JSON.parse(data)));
      return channel;
    }
  };
})();
