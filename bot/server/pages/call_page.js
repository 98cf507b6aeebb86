/** The page of one call: turns as bars, transcript, failures, recording. */

import { ask, problem } from "./asking.js";
import { clock, clockTime, dayTime, el, readOnly, seconds } from "./dom.js";
import { Happenings } from "./happenings.js";
import { Turns } from "./turns.js";
import { Waterfall } from "./waterfall.js";

const BUDGET_S = 1.5;
const AGAIN_MS = 3000; // while the call is in progress
const WRITTEN_MS = 120_000; // how long to wait for the result; a model has a minute by default to write it
const COLOURS = 3;
const TURNS = 100;
const ROWS = 200;
const STAGES = { stt: "Recognition", llm: "Model", tts: "Voice" };
const SIDES = { caller: "Caller", agent: "Agent" };

const place = (id) => document.getElementById(id);
const id = decodeURIComponent(location.pathname.split("/").at(-1));
const path = `/api/calls/${encodeURIComponent(id)}`;
const waterfall = new Waterfall(place("waterfall"), BUDGET_S, TURNS);
const happenings = new Happenings(place("happenings"), ROWS);
const colours = new Map(); // by provider

let reached = false; // the call has been shown once
let lastShown = 0; // number of the last entry shown
const turns = new Turns(TURNS);

async function look() {
  const found = await ask(path);
  if (!found.ok) return fail(found);
  reached = true;
  show(found.body);
  const live = goesOn(found.body.call);
  state(live ? "In progress" : "Ended", live);
  if (live || unfinished(found.body)) setTimeout(look, AGAIN_MS);
}

function goesOn({ state, ended_at: over }) {
  return state === "live" || (!over && state !== "interrupted");
}

/** Whether a model may still write the result. */
function unfinished({ call, result }) {
  return result?.made_by !== "model" && Date.now() - Date.parse(call.ended_at) < WRITTEN_MS;
}

/** Show a failure, and try again unless the call does not exist; what is already shown stays. */
function fail(found) {
  if (found.status !== 404 || reached) setTimeout(look, AGAIN_MS);
  if (reached) return state(problem(found), false);
  state("Not available", false);
  const why = found.status === 404 ? "There is no such call. It may have been deleted after the retention time, or its record is not written yet." : problem(found);
  fill("call", el("p", { class: "empty" }, why), el("p", {}, el("a", { href: "/" }, "To the console")));
}

function state(text, on) {
  place("state").textContent = text;
  place("state").dataset.on = String(on);
}

function show({ call, turns: rows, messages, failures, happenings: facts, result, recordings }) {
  document.title = `Call ${id} · Holdline`;
  fill("call", summary(call), sound(recordings));
  for (const entry of facts) {
    if (entry.number <= lastShown) continue;
    lastShown = entry.number;
    turns.take(entry);
    happenings.take(entry);
  }
  waterfall.draw(turns.of(id));
  reveal("waterfall", turns.of(id).length);
  reveal("happenings", lastShown);
  reveal("words", messages.length);
  fill("words", legend(messages), el("ol", { class: "transcript" }, ...messages.slice(-ROWS).map(utterance)));
  reveal("failures", failures.length);
  fill("failures", el("ol", { class: "alerts" }, ...failures.slice(-ROWS).map(failure)));
  fill("call", summary(call), sound(recordings), served(rows));
  reveal("result", result);
  if (result) fill("result", ...resultParts(result));
}

/** The result of the call, written by a model or derived from its events. */
function resultParts({ says: outcome, summary: text, callback_at: at, notes, made_by: by, provider }) {
  const facts = [
    ["Outcome", outcome],
    ["Call back", at && dayTime(at)],
    ["Notes", notes],
    ["Written by", by === "model" ? provider : "Holdline, from the call’s events"],
  ].filter(([, value]) => value);
  return [el("p", {}, text), figures(facts)];
}

function figures(facts) {
  return el("dl", { class: "figures" }, ...facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/** Replace the content of a card below its heading. */
function fill(card, ...children) {
  place(card).replaceChildren(place(`${card}-title`), ...children.filter(Boolean));
}

function reveal(card, shown) {
  place(card).hidden = !shown;
}

function summary(call) {
  const facts = [
    ["Began", dayTime(call.started_at)],
    ["Direction", call.direction === "outbound" ? "We called" : "Called us"],
    call.direction === "outbound" ? ["We called", call.called || call.transport] : ["Caller", call.caller || call.transport],
    [call.direction === "outbound" ? "From our number" : "Called number", (call.direction === "outbound" ? call.caller : call.called) || "unknown"],
    ["Agent", call.agent],
    ["Length", call.length_s == null ? (goesOn(call) ? "in progress" : "unknown") : clock(1000 * call.length_s)],
    ["Ended", call.ended_says],
    ["The caller was", [call.verdict || "not judged", call.why_says].filter(Boolean).join(": ")],
    ["Failovers", String(call.failovers)],
    ["Failures", String(call.failures)],
    ["Cost", call.cost == null ? "unknown" : `${call.cost.toFixed(4)} ${call.currency}`],
  ];
  return figures(facts);
}

const players = []; // kept across redraws, because one may be playing

/** A player for each file: a call that moved to another machine or worker has several. */
function sound(recordings) {
  if (!recordings) return null;
  if (readOnly) return el("p", { class: "hint" }, "Playing the recording needs HOLDLINE_TOKEN.");
  while (players.length < recordings) players.push(el("audio", { controls: true, preload: "none", src: `${path}/audio?part=${players.length}`, onerror: unheard }));
  players.forEach((player, part) => {
    const which = recordings > 1 ? `, part ${part + 1} of ${recordings}` : "";
    player.setAttribute("aria-label", `Recording of this call${which}`);
  });
  return el("div", {}, ...players);
}

function unheard() {
  state("The recording cannot be played; it needs HOLDLINE_TOKEN", false);
}

/** The providers of each turn, as a table. */
function served(rows) {
  if (!rows.length) return null;
  const names = ["Turn", "Verdict", "Wait", "Recognition", "Model", "Voice", "Tokens", "Characters", "Cost"];
  const heads = el("tr", {}, ...names.map((text) => el("th", { scope: "col" }, text)));
  const lines = rows.slice(-ROWS).map((row) => {
    const cells = [[row.verdict, row.why_says].filter(Boolean).join(": "), row.v2v_s === null ? "–" : seconds(row.v2v_s), row.stt, row.llm, row.tts, row.prompt_tokens + row.completion_tokens, row.characters, row.cost?.toFixed(4) ?? "–"];
    return el("tr", {}, el("th", { scope: "row" }, String(row.turn)), ...cells.map((cell) => el("td", {}, String(cell || "–"))));
  });
  return el("details", {}, el("summary", {}, "Each turn as a table"), el("div", { class: "scroll", tabindex: "0" }, el("table", {}, el("thead", {}, heads), el("tbody", {}, ...lines))));
}

/** Words in the colour of their provider; words outside all spans have none. */
function utterance({ role, text, spans, at }) {
  const words = text.split(/\s+/).filter(Boolean);
  const parts = [];
  let from = 0;
  for (const { provider, words: length } of spans) {
    const some = words.slice(from, from + length).join(" ");
    from += length;
    if (some) parts.push(el("span", { class: "voice", "data-voice": String(colour(provider)), title: provider }, some), " ");
  }
  parts.push(words.slice(from).join(" "));
  const who = el("span", { class: "who" }, `${SIDES[role] ?? role} · ${clockTime(at)}`);
  return el("li", { class: "said", "data-who": role }, who, el("span", { class: "words" }, ...parts));
}

function colour(provider) {
  if (!colours.has(provider)) colours.set(provider, colours.size % COLOURS);
  return colours.get(provider);
}

function legend(messages) {
  const names = [...new Set(messages.flatMap(({ spans }) => spans.map(({ provider }) => provider)))];
  if (!names.length) return null;
  return el("p", { class: "speakers" }, ...names.map((name) => el("span", { class: "voice", "data-voice": String(colour(name)) }, name)));
}

function failure({ at, stage, severity, says, cure, reason }) {
  const tone = ["high", "critical"].includes(severity) ? "bad" : "warn";
  const facts = [clockTime(at), STAGES[stage] ?? stage, cure, reason !== says && reason];
  return el("li", { "data-tone": tone }, el("strong", {}, says), el("span", {}, facts.filter(Boolean).join(" · ")));
}

look();
