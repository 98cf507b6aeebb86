/**
 * The browser's end of a call: microphone, peer connection, data channel. No page in it.
 *
 * The server's messages on the data channel are JSON texts:
 *   {"type": "call", "call_id", "resume_token"}            once, as the call is answered
 *   {"type": "said", "who": "caller"|"agent", "text", "final"}  `text` is the whole utterance so far
 *                     and "voices": [{"provider", "words"}], in order, where several spoke it
 *   {"type": "entry", "event", …}                          one fact of the call's journal
 *   {"type": "refused", "detail"}                          the call is not taken after all
 *   {"type": "ended", "reason"}                            the last one, when the server hangs up
 * The page sends "ping: <ms>" every second. Hanging up is closing the connection: the server learns of
 * it at once, and knows a call that was lost by the silence of the pings.
 */

const PING_MS = 1000; // Pipecat takes the caller for gone after 3 s without one
const JITTER_MS = 150; // so long our process may stand still before the caller hears a hole
const CONNECT_MS = 15000; // on one network it takes a tenth of a second; a person gives up sooner than this
const LOST_MS = 5000; // "disconnected" often heals by itself within a few seconds

const MICROPHONE = {
  audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
};

/** Why a call could not be made, in a sentence for the person who wanted to make it. */
export class CallError extends Error {}

const REFUSALS = {
  NotAllowedError:
    "The microphone was refused. Allow it for this page in your browser’s address bar, then press Call again.",
  NotFoundError: "No microphone was found. Plug one in or switch one on, then press Call again.",
  NotReadableError:
    "The microphone cannot be opened. Another program may be using it: close that, then press Call again.",
};
REFUSALS.SecurityError = REFUSALS.NotAllowedError;
REFUSALS.OverconstrainedError = REFUSALS.NotFoundError;
REFUSALS.AbortError = REFUSALS.NotReadableError;

const INSECURE =
  "Browsers give a microphone only to pages opened over https, or on the computer itself as " +
  "http://localhost. Open this page in one of these ways to call.";

async function openMicrophone() {
  if (!navigator.mediaDevices?.getUserMedia) throw new CallError(INSECURE);
  try {
    return await navigator.mediaDevices.getUserMedia(MICROPHONE);
  } catch (error) {
    const sentence = REFUSALS[error.name] ?? `The microphone cannot be opened (${error.name}).`;
    throw new CallError(sentence, { cause: error });
  }
}

async function refusal(response) {
  const body = await response.json().catch(() => null);
  const detail = typeof body?.detail === "string" ? body.detail : "";
  if (response.status === 401) return "Sign in to the console first, then call.";
  if (detail) return detail;
  if (response.status === 503) return "All lines are busy. Please try again in a moment.";
  return `The server did not take the call (HTTP ${response.status}).`;
}

async function signal(method, body) {
  let response;
  try {
    response = await fetch("/api/offer", {
      method,
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch (error) {
    throw new CallError("The server cannot be reached. Is it still running?", { cause: error });
  }
  if (!response.ok) throw new CallError(await refusal(response));
  return response.json();
}

/** One peer connection with its candidates, pings and messages. */
class Line {
  #pc = new RTCPeerConnection({ iceServers: [] }); // one network: host candidates are enough
  #channel = this.#pc.createDataChannel("chat");
  #id = null;
  #waiting = [];
  #timers = [];
  #told = false;

  constructor(microphone, { onTrack, onUp, onMessage, onLost }) {
    this.#pc.addTransceiver(microphone.getAudioTracks()[0], { direction: "sendrecv" }); // the first must be the audio
    this.#pc.addTransceiver("video", { direction: "recvonly" }); // Pipecat warns in its log without one
    this.#pc.ontrack = ({ track, receiver }) => {
      if (track.kind !== "audio") return;
      receiver.jitterBufferTarget = JITTER_MS; // a browser that does not know it keeps its own
      onTrack(new MediaStream([track]));
    };
    this.#pc.onicecandidate = ({ candidate }) => candidate?.candidate && this.#offerCandidate(candidate);
    this.#pc.onconnectionstatechange = () => this.#moved(onUp, () => this.#lose(onLost));
    this.#channel.onopen = () => this.#every(PING_MS, () => this.send(`ping: ${Date.now()}`));
    this.#channel.onclose = () => this.#lose(onLost);
    this.#channel.onmessage = ({ data }) => onMessage(data);
    this.#after(CONNECT_MS, () => this.#pc.connectionState !== "connected" && this.#lose(onLost));
  }

  async offer(requestData) {
    await this.#pc.setLocalDescription(await this.#pc.createOffer());
    const { sdp, type } = this.#pc.localDescription;
    const answer = await signal("POST", { sdp, type, ...(requestData && { request_data: requestData }) });
    if (this.#pc.signalingState === "closed") return;
    await this.#pc.setRemoteDescription({ sdp: answer.sdp, type: answer.type });
    this.#id = answer.pc_id;
    for (const candidate of this.#waiting.splice(0)) this.#offerCandidate(candidate);
  }

  send(text) {
    if (this.#channel.readyState === "open") this.#channel.send(text);
  }

  close() {
    this.#told = true;
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.#pc.close();
  }

  #offerCandidate(candidate) {
    if (this.#id === null) {
      this.#waiting.push(candidate);
      return;
    }
    const { candidate: line, sdpMid: sdp_mid, sdpMLineIndex: sdp_mline_index } = candidate;
    const body = { pc_id: this.#id, candidates: [{ candidate: line, sdp_mid, sdp_mline_index }] };
    signal("PATCH", body).catch(() => {}); // one road less; when none is left the connection says so
  }

  #moved(onUp, lose) {
    const state = this.#pc.connectionState;
    if (state === "connected") onUp();
    if (state === "failed") lose();
    if (state === "disconnected") {
      this.#after(LOST_MS, () => this.#pc.connectionState === "disconnected" && lose());
    }
  }

  #lose(onLost) {
    if (this.#told) return;
    this.#told = true;
    onLost();
  }

  #every(ms, action) {
    action();
    this.#timers.push(setInterval(action, ms));
  }

  #after(ms, action) {
    this.#timers.push(setTimeout(action, ms));
  }
}

/**
 * The telephone. Its states: idle, asking (for the microphone), calling, in_call, and at the end one
 * of ended (somebody hung up), lost (the connection broke) and failed (there was no call).
 *
 * Events, all CustomEvents: `state` {state, reason}, `message` {…}, `microphone` MediaStream,
 * `voice` MediaStream.
 */
export class Telephone extends EventTarget {
  #state = "idle";
  #line = null;
  #microphone = null;
  #attempt = 0; // a call that was hung up while it was being set up must not come to life later

  constructor() {
    super();
    addEventListener("pagehide", () => this.#leave());
  }

  get state() {
    return this.#state;
  }

  get busy() {
    return ["asking", "calling", "in_call"].includes(this.#state);
  }

  /** Make a call, or take one up again with the token that the server gave it. */
  async call({ resumeToken = null } = {}) {
    if (this.busy) return;
    const attempt = ++this.#attempt;
    this.#move("asking");
    try {
      const microphone = await openMicrophone();
      if (attempt !== this.#attempt) return stop(microphone);
      this.#microphone = microphone;
      this.#tell("microphone", microphone);
      this.#move("calling");
      this.#line = new Line(microphone, this.#listeners(attempt));
      await this.#line.offer(resumeToken && { resume_token: resumeToken });
    } catch (error) {
      if (attempt !== this.#attempt) return;
      if (!(error instanceof CallError)) console.error(error);
      this.#end("failed", error instanceof CallError ? error.message : `The call could not be made (${error.name}).`);
    }
  }

  /** End the call from this side. */
  hangUp() {
    if (!this.busy) return;
    this.#end("ended", "You hung up.");
  }

  #leave() {
    if (this.busy) this.#end("ended", "You left the page."); // else the agent learns of it 28 s later
  }

  #listeners(attempt) {
    const mine = (action) => (value) => attempt === this.#attempt && action(value);
    return {
      onTrack: mine((stream) => this.#tell("voice", stream)),
      onUp: mine(() => this.#state === "calling" && this.#move("in_call")),
      onMessage: mine((text) => this.#hear(text)),
      onLost: mine(() => this.#lost()),
    };
  }

  #hear(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return; // not ours
    }
    this.#tell("message", message);
    if (message.type === "refused") this.#end("failed", message.detail);
    const left = message.type === "signalling" && message.message?.type === "peerLeft";
    const over = message.type === "ended" || (message.type === "entry" && message.event === "CallEnded");
    if (left || over) this.#end("ended", ENDINGS[message.reason] ?? "The call has ended.");
  }

  #lost() {
    if (this.#state === "calling") {
      this.#end("failed", "No sound path to the server was found. A firewall or a VPN may stand in the way.");
    } else {
      this.#end("lost", "The connection was lost.");
    }
  }

  #end(state, reason) {
    this.#attempt += 1;
    this.#line?.close();
    this.#line = null;
    if (this.#microphone) stop(this.#microphone);
    this.#microphone = null;
    this.#move(state, reason);
  }

  #move(state, reason = "") {
    this.#state = state;
    this.#tell("state", { state, reason });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

const ENDINGS = {
  caller_hung_up: "The call has ended.",
  agent_hung_up: "The agent has ended the call.",
  silence: "The agent ended the call because nobody spoke.",
  max_length: "The call reached its longest time and was ended.",
  failed: "The call failed on our side. Please call again.",
  shutdown: "The server was switched off and ended the call.",
  transfer: "The call was handed to a person.",
};

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}
