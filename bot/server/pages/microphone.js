/** The microphones of this computer: opening one, and which there are. No page in it. */

import { CallError } from "./call_error.js";

const CLEANED = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

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

/** Open the microphone with this id, or the one that the browser would take. */
export async function openMicrophone(deviceId = null) {
  if (!navigator.mediaDevices?.getUserMedia) throw new CallError(INSECURE);
  const audio = deviceId ? { ...CLEANED, deviceId: { exact: deviceId } } : CLEANED;
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    const sentence = REFUSALS[error.name] ?? `The microphone cannot be opened (${error.name}).`;
    throw new CallError(sentence, { cause: error });
  }
}

/** The microphones that there are, each {id, name}; names are known once one has been allowed. */
export async function microphones() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const found = devices.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId);
  return found.map(({ deviceId, label }, index) => ({ id: deviceId, name: label || `Microphone ${index + 1}` }));
}

export function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/** Silence as a muted microphone sends it, until `end` is called. */
export function silence() {
  const context = new AudioContext();
  const line = context.createMediaStreamDestination();
  const nothing = new ConstantSourceNode(context, { offset: 0 }); // a line without a source sends nothing at all
  nothing.connect(line);
  nothing.start();
  const [track] = line.stream.getAudioTracks();
  return { track, end: () => context.close() };
}
