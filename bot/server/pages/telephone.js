/**
 * The browser's end of a call: microphone, line, server messages. Independent of the page.
 *
 * The server's messages on the data channel are JSON texts:
 *   {"type": "call", "call_id", "resume_token", "remembers"}   once, when the call is answered; `remembers`
 *                     says whether the resumed conversation still existed
 *   {"type": "said", "who": "caller"|"agent", "text", "final"}  `text` is the whole utterance so far
 *                     and "voices": [{"provider", "words"}], in order, if several spoke it
 *   {"type": "entry", "event", …}                          one event of the call's journal
 *   {"type": "refused", "detail"}                          the call is refused after all
 *   {"type": "ended", "reason"}                            the last one, when the server hangs up
 * The page sends "ping: <ms>" every second, {"type": "key", "key"} for a key, and {"type": "ear", …} with
 * its receiver's measurements of each answer. Hanging up closes the connection: the server notices
 * that at once, and recognises a lost call by its silence.
 */

import { CallError } from "./call_error.js";
import { Line, signal } from "./line.js";
import { microphones, openMicrophone, silence, stop } from "./microphone.js";

export { CallError };

const CONNECT_MS = 15000; // in one network it takes 0.1 s; people give up sooner than this
const BACK_CONNECT_MS = 4000; // of one attempt to reconnect
const BACK_AGAIN_MS = 500;
const GIVE_UP_MS = 30000; // the server keeps a conversation this long
const EAR_MS = 1000; // measured part of an answer
const BUSY = ["asking", "calling", "in_call", "reconnecting"];

/**
 * The telephone. Its states: idle, asking (for the microphone), calling, in_call, reconnecting (no audio
 * arrives from the server; the call goes on if the connection comes back), and finally ended (one side
 * hung up), lost (the connection broke) or failed (there was no call).
 *
 * Events, all CustomEvents: `state` {state, reason}, `message` {…}, `microphone` MediaStream,
 * `microphones` {list, id}, `muted` boolean, `voice` MediaStream.
 */
export class Telephone extends EventTarget {
  #state = "idle";
  #line = null;
  #retired = []; // lines that were lost; closed once the next one works
  #microphone = null;
  #silence = null; // the source of silence that replaces a lost microphone
  #muted = false;
  #iceServers = [];
  #token = null;
  #lostAt = 0;
  #back = 0; // counts attempts to reconnect; an outdated one may still be waiting for an answer
  #reloads = false; // the page is being reloaded, and resumes its call afterwards
  #attempt = 0; // counts calls; one that was hung up during its setup must not start later

  constructor() {
    super();
    addEventListener("pagehide", () => this.#leave());
    addEventListener("keydown", (event) => (this.#reloads ||= reloadsPage(event)));
    globalThis.navigation?.addEventListener("navigate", ({ navigationType: type }) => (this.#reloads ||= type === "reload"));
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.busy && this.#rearranged());
  }

  get state() {
    return this.#state;
  }

  /** Whether this call's microphone has been disconnected. */
  get #hasLostMicrophone() {
    return this.#microphone?.getAudioTracks()[0]?.readyState === "ended";
  }

  /** Whether the system, not the caller, has muted this call's microphone. */
  get hasMutedMicrophone() {
    return this.#microphone?.getAudioTracks()[0]?.muted ?? false;
  }

  get busy() {
    return BUSY.includes(this.#state);
  }

  /** Make a call, or resume one with the server's token. */
  async call({ resumeToken = null } = {}) {
    if (this.busy) return;
    const attempt = ++this.#attempt;
    this.#token = resumeToken;
    this.#lostAt = 0;
    this.#move("asking");
    try {
      const microphone = await openMicrophone();
      if (attempt !== this.#attempt) return stop(microphone);
      this.#use(microphone);
      this.#move("calling");
      this.#iceServers = (await signal("GET")).ice_servers;
      if (attempt === this.#attempt) await this.#dial(CONNECT_MS);
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

  /** Mute or unmute the microphone; the line stays up. */
  mute(muted) {
    this.#muted = muted;
    for (const track of this.#microphone?.getAudioTracks() ?? []) track.enabled = !muted;
    this.#tell("muted", muted);
  }

  /** Press a key: 0-9, * or #. */
  press(key) {
    if (this.#state === "in_call") this.#line.send(JSON.stringify({ type: "key", key }));
  }

  /** Use another microphone from now on; without an id, the browser's default. */
  async speakThrough(deviceId) {
    const attempt = this.#attempt;
    const microphone = await openMicrophone(deviceId);
    if (attempt !== this.#attempt || !this.busy) return stop(microphone);
    await this.#line?.speakThrough(microphone.getAudioTracks()[0]);
    if (attempt !== this.#attempt) return stop(microphone);
    const before = this.#microphone; // read after the await: two may be opened at once
    this.#use(microphone);
    stop(before);
  }

  #use(microphone) {
    this.#endSilence();
    this.#microphone = microphone;
    const [track] = microphone.getAudioTracks();
    track.onended = () => microphone === this.#microphone && this.#unplugged();
    track.onmute = () => microphone === this.#microphone && this.#tell("held", true); // by the system, such as for a call
    track.onunmute = () => microphone === this.#microphone && this.#tell("held", false);
    this.mute(this.#muted);
    this.#tell("microphone", microphone);
    this.#listMicrophones();
  }

  /** The microphone was disconnected: use another one, or go on without. */
  async #unplugged() {
    try {
      await this.speakThrough(null);
    } catch (error) {
      this.#fallSilent();
      this.#tell("message", { type: "note", text: error.message });
    }
  }

  /** Send silence; without any audio the server would wait for the end of the last utterance. */
  #fallSilent() {
    if (!this.#line || !this.#hasLostMicrophone || this.#silence) return;
    this.#silence = silence();
    this.#line.speakThrough(this.#silence.track);
  }

  #endSilence() {
    this.#silence?.end();
    this.#silence = null;
  }

  /** A device was added or removed: a call without a microphone uses the new one. */
  async #rearranged() {
    if (this.#hasLostMicrophone) await this.speakThrough(null).catch(() => {}); // there is still no microphone
    this.#listMicrophones();
  }

  async #listMicrophones() {
    const list = await microphones().catch(() => []);
    this.#tell("microphones", { list, id: this.#microphone?.getAudioTracks()[0]?.getSettings?.().deviceId });
  }

  #leave() {
    if (this.#reloads && this.#token) return;
    if (this.busy) this.#end("ended", "You left the page."); // otherwise the agent would notice only after 28 s
  }

  /** Set up a line that replaces the current one. */
  async #dial(connectMs) {
    const line = new Line(this.#microphone, { iceServers: this.#iceServers, connectMs }, {
      onTrack: (stream) => line === this.#line && this.#tell("voice", stream),
      onUp: () => line === this.#line && this.#up(),
      onMessage: (text) => line === this.#line && this.#hear(text),
      onDoubt: () => line === this.#line && this.#doubt(),
      onSure: () => line === this.#line && this.#up(),
      onLost: () => line === this.#line && this.#lost(),
    });
    this.#line?.retire();
    this.#retired.push(this.#line);
    this.#line = line;
    if (this.#silence) line.speakThrough(this.#silence.track);
    await line.offer(this.#token && { resume_token: this.#token }, connectMs);
  }

  #up() {
    this.#lostAt = 0;
    if (this.#state !== "in_call") this.#move("in_call");
  }

  #closeRetired() {
    for (const line of this.#retired.splice(0)) line?.close();
  }

  #doubt() {
    this.#lostAt ||= Date.now();
    if (this.#state === "in_call") this.#move("reconnecting", "The connection is interrupted. Trying to get it back…");
  }

  #hear(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return; // not ours
    }
    if (message.type === "call") this.#meet(message);
    this.#tell("message", message);
    if (message.type === "refused") this.#end("failed", message.detail);
    if (message.type === "entry" && message.event === "AnswerHeard") this.#measure(message.turn);
    const left = message.type === "signalling" && message.message?.type === "peerLeft";
    const over = message.type === "ended" || (message.type === "entry" && message.event === "CallEnded");
    if (over && message.reason === "line_lost") this.#lost(); // the server no longer hears us, although we hear it
    else if (left || over) this.#end("ended", ENDINGS[message.reason] ?? "The call has ended.");
  }

  #meet(message) {
    this.#closeRetired(); // the conversation has moved to the new line
    if (this.#token && !message.remembers) {
      this.#tell("message", { type: "note", text: "The earlier conversation is lost; the agent starts over." });
    }
    this.#token = message.resume_token;
  }

  async #measure(turn) {
    const line = this.#line;
    const send = await line.measure();
    setTimeout(() => line === this.#line && send(turn), EAR_MS);
  }

  #lost() {
    if (this.#state === "calling") {
      this.#end("failed", "No audio connection to the server. A firewall or a VPN may block it.");
    } else if (this.#token) {
      this.#doubt();
      this.#comeBack();
    } else {
      this.#end("lost", "The connection was lost.");
    }
  }

  /** Reconnect with the call's token, until it works or the server has forgotten the call. */
  async #comeBack() {
    const [attempt, back] = [this.#attempt, ++this.#back];
    const wanted = () => attempt === this.#attempt && back === this.#back && this.#state === "reconnecting";
    this.#line?.retire();
    while (wanted() && Date.now() - this.#lostAt < GIVE_UP_MS) {
      try {
        return await this.#dial(BACK_CONNECT_MS); // if this line is lost, a new attempt begins
      } catch {
        await new Promise((done) => setTimeout(done, BACK_AGAIN_MS));
      }
    }
    if (wanted()) this.#end("lost", "The connection was lost.");
  }

  #end(state, reason) {
    this.#attempt += 1;
    this.#closeRetired();
    this.#line?.close();
    this.#line = null;
    if (this.#microphone) stop(this.#microphone);
    this.#microphone = null;
    this.#endSilence();
    this.mute(false);
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

/** Whether a key reloads the page, in a browser that does not announce it. */
function reloadsPage({ key, ctrlKey, metaKey }) {
  return key === "F5" || (key.toLowerCase() === "r" && (ctrlKey || metaKey));
}

const ENDINGS = {
  caller_hung_up: "The call has ended.",
  agent_hung_up: "The agent has ended the call.",
  silence: "The agent ended the call because it heard nothing.",
  max_length: "The call reached its maximum length and was ended.",
  failed: "The call failed because of a server error. Please call again.",
  shutdown: "The server was shut down and ended the call.",
  transfer: "The call was transferred to a person.",
};
