/** One peer connection: its offer, its candidates, its pings, and its way back when the network changed. */

import { CallError } from "./call_error.js";
import { EarGauge } from "./ear_gauge.js";

const PING_MS = 1000; // the server doubts a line that brings nothing for 1.2 s, and gives it up after 8
const JITTER_MS = 150; // so long the server’s process may stand still before the caller hears a hole
const LOOK_MS = 250;
const QUIET_MS = 1200; // the server sends sound 50 times a second, silence too
const RESTART_MS = 3000; // mostly a few round trips; Chromium leaves a relay for a lesser one after 2.5 s
const AGAIN_MS = 500;
const ANSWER_MS = 10000;

async function refusal(response) {
  const body = await response.json().catch(() => null);
  const detail = typeof body?.detail === "string" ? body.detail : "";
  if (response.status === 401) return "Sign in to the console first, then call.";
  if (detail) return detail;
  if (response.status === 503) return "All lines are busy. Please try again in a moment.";
  return `The server did not take the call (HTTP ${response.status}).`;
}

/** Ask the server; `method` GET says what a call needs, POST offers one, PATCH adds addresses. */
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
 * A line to the server. Tells `onTrack` (the agent’s voice), `onUp` (connected), `onMessage` (a text),
 * `onDoubt` (nothing is heard of the server, a new way is being looked for), `onSure` (it is heard
 * again) and, as the last, `onLost`.
 */
export class Line {
  #pc;
  #channel;
  #tell;
  #id = null;
  #waiting = []; // addresses for which there is no answer yet
  #answered = false;
  #timers = [];
  #lost = false;
  #receiver = null;
  #packets = { count: 0, at: 0 };
  #doubted = 0; // since when; 0: not at all
  #gauge;

  constructor(microphone, { iceServers, connectMs }, listeners) {
    this.#pc = new RTCPeerConnection({ iceServers });
    this.#channel = this.#pc.createDataChannel("chat");
    this.#gauge = new EarGauge(this.#pc);
    this.#tell = listeners;
    this.#pc.addTransceiver(microphone.getAudioTracks()[0], { direction: "sendrecv" }); // the first must be the audio
    this.#pc.addTransceiver("video", { direction: "recvonly" }); // Pipecat warns in its log without one
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

  /** Send another microphone’s sound from now on. */
  async speakThrough(track) {
    await this.#pc.getTransceivers()[0].sender.replaceTrack(track);
  }

  /** Begin to measure how long sound takes from here to the ear; `end` sends what was measured. */
  async measure() {
    const end = await this.#gauge.begin();
    return async (turn) => {
      const measured = await end();
      if (measured) this.send(JSON.stringify({ type: "ear", turn, ...measured }));
    };
  }

  /** Do nothing any more, but part from nobody: who hears a goodbye forgets the conversation. */
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
    receiver.jitterBufferTarget = JITTER_MS; // a browser that does not know it keeps its own
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
    signal("PATCH", body).catch(() => {}); // one road less; when none is left the connection says so
  }

  #moved() {
    const state = this.#pc.connectionState;
    if (state === "connected") this.#tell.onUp();
    if (state === "failed") this.#lose();
    if (state === "disconnected") this.#doubt();
  }

  /** Look whether sound comes: a browser says "disconnected" only seconds after it has stopped. */
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

  /** Offer the server a new way for the same call, until it answers or the doubt is over. */
  async #restart(doubted) {
    while (!this.#lost && this.#doubted === doubted) {
      try {
        this.#answered = false;
        await this.#pc.setLocalDescription(await this.#pc.createOffer({ iceRestart: true }));
        const { sdp, type } = this.#pc.localDescription;
        const body = { sdp, type, pc_id: this.#id, request_data: { ice_restart: true } };
        return await this.#take(await signal("POST", body, RESTART_MS));
      } catch (error) {
        if (error.status) return this.#lose(); // the server answers, and has no such call
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
