/** The microphone level, as a bar. */

import { el } from "./dom.js";

const FLOOR_DB = -60; // quieter than a quiet room
const SPOKEN_EVERY_MS = 500; // assistive technology does not need sixty values a second

/** A level meter: `watch` a stream, `stop` when the call is over. */
export class Level {
  #bar = el("span", { class: "bar" });
  #element = el(
    "span",
    { class: "level", role: "meter", "aria-label": "Microphone level", "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": "0" },
    this.#bar,
  );
  #context = null;
  #spokenAt = 0;
  #loudest = 0; // since `#spokenAt`; a sample every half second would miss short sounds

  get element() {
    return this.#element;
  }

  watch(stream) {
    this.stop();
    const context = new AudioContext();
    const analyser = new AnalyserNode(context, { fftSize: 1024 });
    context.createMediaStreamSource(stream).connect(analyser);
    this.#context = context;
    const samples = new Float32Array(analyser.fftSize);
    const draw = (now) => {
      if (this.#context !== context) return;
      analyser.getFloatTimeDomainData(samples);
      this.#show(percent(samples), now);
      requestAnimationFrame(draw);
    };
    requestAnimationFrame(draw);
  }

  stop() {
    this.#context?.close();
    this.#context = null;
    this.#loudest = 0;
    this.#show(0, Infinity);
    this.#spokenAt = 0;
  }

  #show(value, now) {
    this.#bar.style.transform = `scaleX(${value / 100})`;
    this.#loudest = Math.max(this.#loudest, value);
    if (now - this.#spokenAt < SPOKEN_EVERY_MS) return;
    this.#spokenAt = now;
    this.#element.setAttribute("aria-valuenow", String(Math.round(this.#loudest)));
    this.#loudest = 0;
  }
}

function percent(samples) {
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  const db = 10 * Math.log10(power + 1e-12);
  return Math.min(100, Math.max(0, (100 * (db - FLOOR_DB)) / -FLOOR_DB));
}
