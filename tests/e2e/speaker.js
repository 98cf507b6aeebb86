// Put into the page before its own scripts: a microphone that says what a test tells it to, and an
// ear that notes how loud the received audio is.
(() => {
  const EVERY_MS = 20;
  const heard = (window.heard = []); // [milliseconds, root mean square], one every EVERY_MS

  let context, microphone;
  const open = () => {
    if (context) return;
    context = new AudioContext();
    microphone = context.createMediaStreamDestination();
    const hiss = new ConstantSourceNode(context, { offset: 1e-5 }); // without any input RTP would stop
    hiss.connect(microphone);
    hiss.start();
  };

  navigator.mediaDevices.getUserMedia = async () => {
    open();
    return microphone.stream.clone(); // the page stops its own copy at the end of a call
  };

  window.say = async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const buffer = await context.decodeAudioData(bytes.buffer);
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(microphone);
    source.start();
    await new Promise((done) => (source.onended = done));
  };

  const listen = (stream) => {
    const ear = new AnalyserNode(context, { fftSize: 1024 });
    context.createMediaStreamSource(stream).connect(ear);
    const samples = new Float32Array(ear.fftSize);
    setInterval(() => {
      ear.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      heard.push([performance.now(), Math.sqrt(power)]);
    }, EVERY_MS);
  };

  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...settings) {
      super(...settings);
      this.addEventListener("track", ({ track }) => track.kind === "audio" && listen(new MediaStream([track])));
    }
  };
})();
