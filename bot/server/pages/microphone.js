/** Lists and opens the microphones of this computer. Independent of the page. */

import { CallError } from "./call_error.js";

const CLEANED = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

const REFUSALS = {
  NotAllowedError:
    "Access to the microphone was denied. Allow it for this page in your browser’s address bar, then press Call again.",
  NotFoundError: "No microphone was found. Connect one or switch it on, then press Call again.",
  NotReadableError:
    "The microphone cannot be opened. Another program may be using it. Close that program, then press Call again.",
};
REFUSALS.SecurityError = REFUSALS.NotAllowedError;
REFUSALS.OverconstrainedError = REFUSALS.NotFoundError;
REFUSALS.AbortError = REFUSALS.NotReadableError;

const INSECURE =
  "Browsers allow microphones only on pages opened over https, or on this computer as " +
  "http://localhost. Open this page in one of these ways to make a call.";

/** Open the microphone with this id, or the browser's default. */
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

/** All microphones as {id, name}; names are known after access is allowed. */
export async function microphones() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const found = devices.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId);
  return found.map(({ deviceId, label }, index) => ({ id: deviceId, name: label || `Microphone ${index + 1}` }));
}

export function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/** A track of silence, like a muted microphone's, until `end` is called. */
export function silence() {
  const context = new AudioContext();
  const line = context.createMediaStreamDestination();
  const nothing = new ConstantSourceNode(context, { offset: 0 }); // without a source the line sends nothing at all
  nothing.connect(line);
  nothing.start();
  const [track] = line.stream.getAudioTracks();
  return { track, end: () => context.close() };
}
