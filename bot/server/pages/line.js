/** One peer connection: offer, candidates, pings, and ICE restarts after network changes. */

import { CallError } from "./call_error.js";
import { EarGauge } from "./ear_gauge.js";

const PING_MS = 1000; // without pings, the server doubts a line after 1.2 s and drops it after 8 s
const JITTER_MS = 150; // how long the server’s process may pause before the caller hears a gap
const LOOK_MS = 250;
const QUIET_MS = 1200; // the server sends audio 50 times a second, also during silence
const RESTART_MS = 3000; // usually a few round trips; Chromium leaves a relay for a worse one after 2.5 s
const AGAIN_MS = 500;
const ANSWER_MS = 10000;

async function refusal(response) {
  const body = await response.json().catch(() => null);
  const detail = typeof body?.detail === "string" ? body.detail : "";
  if (response.status === 401) return "Sign in to the console first, then call.";
  if (detail) return detail;
  if (response.status === 503) return "All lines are busy. Please try again in a moment.";
  return `The server refused the call (HTTP ${response.status}).`;
}

/** Send a signalling request: GET returns the ICE servers, POST offers a call, PATCH adds candidates. */
export async function signal(method, body, withinMs = ANSWER_MS) {
  let response;
  try {
    response = await fetch("/api/offer", {
      method,
      signal: AbortSignal.timeout(withinMs),
      ...(body && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    });
  } catch (error) {
    throw new CallError("The server cannot be reached. Is it still running?", { cause: error });
  }
  if (!response.ok) throw new CallError(await refusal(response), { status: response.status });
  return response.json();
}

/**
 * A line to the server. Calls `onTrack` (the agent’s voice), `onUp` (connected), `onMessage` (a text),
 * `onDoubt` (no audio arrives; ICE restarts), `onSure` (audio arrives again) and, finally, `onLost`.
 */
export class Line {
  #pc;
  #channel;
  #tell;
  #id = null;
  #waiting = []; // candidates found before the answer
  #answered = false;
  #timers = [];
  #lost = false;
  #receiver = null;
  #packets = { count: 0, at: 0 };
  #doubted = 0; // since when; 0 if the line works
  #gauge;

  constructor(microphone, { iceServers, connectMs }, listeners) {
    this.#pc = new RTCPeerConnection({ iceServers });
    this.#channel = this.#pc.createDataChannel("chat");
    this.#gauge = new EarGauge(this.#pc);
    this.#tell = listeners;
    this.#pc.addTransceiver(microphone.getAudioTracks()[0], { direction: "sendrecv" });
    this.#pc.ontrack = (event) => this.#met(event);
    this.#pc.onicecandidate = ({ candidate }) => candidate?.candidate && this.#offerCandidate(candidate);
    this.#pc.onconnectionstatechange = () => this.#moved();
    this.#channel.onopen = () => this.#every(PING_MS, () => this.send(`ping: ${Date.now()}`));
    this.#channel.onclose = () => this.#lose();
    this.#channel.onmessage = ({ data }) => this.#tell.onMessage(data);
    this.#after(connectMs, () => this.#pc.connectionState !== "connected" && this.#lose());
    this.#every(LOOK_MS, () => this.#look());
  }

  async offer(requestData, withinMs) {
    await this.#pc.setLocalDescription(await this.#pc.createOffer());
    const { sdp, type } = this.#pc.localDescription;
    const body = { sdp, type, ...(requestData && { request_data: requestData }) };
    await this.#take(await signal("POST", body, Math.min(withinMs, ANSWER_MS)));
  }

  send(text) {
    if (this.#channel.readyState === "open") this.#channel.send(text);
  }

  /** Send another microphone’s audio from now on. */
  async speakThrough(track) {
    await this.#pc.getTransceivers()[0].sender.replaceTrack(track);
  }

  /** Begin to measure the delay to the loudspeaker. The returned function sends the result. */
  async measure() {
    const end = await this.#gauge.begin();
    return async (turn) => {
      const measured = await end();
      if (measured) this.send(JSON.stringify({ type: "ear", turn, ...measured }));
    };
  }

  /** Stop all activity without closing: the server forgets the conversation of a closed connection. */
  retire() {
    this.#lost = true;
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
  }

  close() {
    this.retire();
    this.#pc.close();
  }

  #met({ track, receiver }) {
    if (track.kind !== "audio") return;
    receiver.jitterBufferTarget = JITTER_MS; // ignored by browsers without this property
    this.#receiver = receiver;
    this.#tell.onTrack(new MediaStream([track]));
  }

  async #take(answer) {
    if (this.#pc.signalingState === "closed") return;
    await this.#pc.setRemoteDescription({ sdp: answer.sdp, type: answer.type });
    this.#id = answer.pc_id;
    this.#answered = true;
    for (const candidate of this.#waiting.splice(0)) this.#offerCandidate(candidate);
  }

  #offerCandidate(candidate) {
    if (!this.#answered) {
      this.#waiting.push(candidate);
      return;
    }
    const { candidate: line, sdpMid: sdp_mid, sdpMLineIndex: sdp_mline_index } = candidate;
    const body = { pc_id: this.#id, candidates: [{ candidate: line, sdp_mid, sdp_mline_index }] };
    signal("PATCH", body).catch(() => {}); // one path fewer; the connection fails only without any
  }

  #moved() {
    const state = this.#pc.connectionState;
    if (state === "connected") this.#tell.onUp();
    if (state === "failed") this.#lose();
    if (state === "disconnected") this.#doubt();
  }

  /** Check whether audio arrives: a browser reports "disconnected" only seconds after it has stopped. */
  async #look() {
    if (!this.#receiver || this.#lost) return;
    const stats = [...(await this.#receiver.getStats()).values()];
    const count = stats.find(({ type }) => type === "inbound-rtp")?.packetsReceived ?? 0;
    const now = performance.now();
    const before = this.#packets;
    if (count !== before.count) this.#packets = { count, at: now };
    if (count && count !== before.count) this.#sure();
    else if (before.count && now - before.at > QUIET_MS) this.#doubt();
    if (this.#doubted && now - this.#doubted > RESTART_MS) this.#lose();
  }

  #sure() {
    if (!this.#doubted || this.#lost) return;
    this.#doubted = 0;
    this.#tell.onSure();
  }

  #doubt() {
    if (this.#doubted || this.#lost || this.#id === null) return;
    this.#doubted = performance.now();
    this.#tell.onDoubt();
    this.#restart(this.#doubted);
  }

  /** Restart ICE for the same call, until the server answers or the line works again. */
  async #restart(doubted) {
    while (!this.#lost && this.#doubted === doubted) {
      try {
        this.#answered = false;
        await this.#pc.setLocalDescription(await this.#pc.createOffer({ iceRestart: true }));
        const { sdp, type } = this.#pc.localDescription;
        const body = { sdp, type, pc_id: this.#id, request_data: { ice_restart: true } };
        return await this.#take(await signal("POST", body, RESTART_MS));
      } catch (error) {
        if (error.status) return this.#lose(); // the server has no such call
        await new Promise((done) => setTimeout(done, AGAIN_MS));
      }
    }
  }

  #lose() {
    if (this.#lost) return;
    this.#lost = true;
    this.#tell.onLost();
  }

  #every(ms, action) {
    action();
    this.#timers.push(setInterval(action, ms));
  }

  #after(ms, action) {
    this.#timers.push(setTimeout(action, ms));
  }
}
