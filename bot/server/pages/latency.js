/** The answer times of the last 15 minutes, against the budget. */

import { el, seconds } from "./dom.js";
import { every, paced } from "./pacing.js";

const WINDOW_S = 900;
const MOST = 600; // points
const DRAW_MS = 500;
const HEIGHT = 180; // px

/** The chart; pass it the live entries and the earlier answers. */
export class Latency {
  #points = new Map(); // by call and moment: {at_s, v2v_s}
  #budget_s;
  #said = el("p", { class: "hint" });
  #place = el("div", { class: "plot", role: "img" });
  #plot = null;
  #told;
  #soon = paced(() => this.#draw(), DRAW_MS);

  /** `told` is called with {turns, within, budget_s} after each drawing. */
  constructor(place, budget_s, told) {
    this.#budget_s = budget_s;
    this.#told = told;
    place.append(this.#said, this.#place);
    new ResizeObserver(() => this.#soon()).observe(place);
    every(5000, () => this.#soon()); // the time axis moves on
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#again());
  }

  set budget_s(value) {
    this.#budget_s = value;
    this.#soon();
  }

  /** Add earlier answers from the server: [seconds since 1970, v2v_s, call]. */
  fill(turns) {
    for (const [at_s, v2v_s, call] of turns) this.#add(call, at_s, v2v_s);
    this.#soon();
  }

  take(entry) {
    if (entry.event !== "AnswerHeard") return;
    this.#add(entry.call_id, Date.parse(entry.at) / 1000, entry.v2v_s);
    this.#soon();
  }

  #add(call, at_s, v2v_s) {
    this.#points.set(`${call} ${at_s.toFixed(3)}`, { at_s, v2v_s }); // the feed repeats some of them
    if (this.#points.size > MOST) this.#points.delete(this.#points.keys().next().value);
  }

  #draw() {
    const now = Date.now() / 1000;
    for (const [key, { at_s }] of this.#points) if (at_s < now - WINDOW_S) this.#points.delete(key);
    const points = [...this.#points.values()].sort((one, other) => one.at_s - other.at_s);
    const waits = points.map(({ v2v_s }) => v2v_s).sort((one, other) => one - other);
    const within = waits.filter((wait) => wait <= this.#budget_s).length;
    this.#said.textContent = this.#sentence(waits, within);
    this.#place.setAttribute("aria-label", this.#said.textContent);
    this.#place.hidden = !points.length;
    this.#told({ turns: waits.length, within, budget_s: this.#budget_s });
    if (points.length) this.#paint(points, now, waits.at(-1));
  }

  #sentence(waits, within) {
    if (!waits.length) return `No answer in the last 15 minutes. Each answer appears here as a point; points above the line took longer than ${this.#budget_s} s.`;
    const share = (part) => seconds(waits[Math.min(waits.length - 1, Math.ceil(part * waits.length) - 1)]);
    return `${within} of ${waits.length} answers in the last 15 minutes within ${this.#budget_s} s. Half within ${share(0.5)}, 19 of 20 within ${share(0.95)}, the slowest ${seconds(waits.at(-1))}.`;
  }

  #paint(points, now, slowest) {
    const width = this.#place.clientWidth;
    if (!width || typeof uPlot === "undefined") return;
    const begin = now - WINDOW_S; // the budget's line goes from edge to edge
    const moments = [begin, ...points.map(({ at_s }) => at_s), now];
    const data = [moments, [null, ...points.map(({ v2v_s }) => v2v_s), null], moments.map(() => this.#budget_s)];
    this.#plot ??= new uPlot(this.#options(width), data, this.#place);
    if (this.#plot.width !== width) this.#plot.setSize({ width, height: HEIGHT });
    this.#plot.setData(data, false);
    this.#plot.setScale("x", { min: begin, max: now });
    this.#plot.setScale("y", { min: 0, max: 1.15 * Math.max(slowest, 1.4 * this.#budget_s) });
  }

  #options(width) {
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    return {
      width,
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: true, auto: false }, y: { auto: false } },
      axes: [
        { ...axis, size: 28, values: (_, all) => all.map(hour) },
        { ...axis, size: 44, values: (_, all) => all.map((tick) => `${tick} s`) },
      ],
      series: [
        {},
        { stroke: colour("--tts"), fill: colour("--tts"), paths: () => null, points: { show: true, size: 6, fill: colour("--tts") } },
        { stroke: colour("--danger"), width: 2, dash: [6, 4], points: { show: false } },
      ],
    };
  }

  #again() {
    this.#plot?.destroy();
    this.#plot = null;
    this.#soon();
  }
}

function hour(at_s) {
  return new Date(1000 * at_s).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
