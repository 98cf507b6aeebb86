/** The page of the do-not-call list: its entries, and a form that adds and removes numbers. */

import { act, ask, keepName, ownName, problem } from "./asking.js";
import { dayTime, el, needsAct, signedInName } from "./dom.js";

const PAGE = 50;
const COLUMNS = ["Number", "Since", "Source", "Words"];

const place = (id) => document.getElementById(id);
const form = document.querySelector("form");
const table = document.querySelector(".scroll");
const older = place("older");
const newer = place("newer");
const show = place("show");

let skip = 0;
let numbers = false; // whether they are shown in full

async function look() {
  const by = encodeURIComponent(form.elements.by.value);
  const found = await ask(`/api/do-not-call?skip=${skip}&numbers=${numbers}&by=${by}`);
  state(found.ok ? "" : problem(found));
  if (!found.ok) return;
  const { entries, more } = found.body;
  table.replaceChildren(entries.length ? drawn(entries) : el("p", { class: "empty" }, "No number is on the list."));
  older.hidden = !more;
  newer.hidden = skip === 0;
}

function drawn(entries) {
  const head = el("tr", {}, ...COLUMNS.map((name) => el("th", { scope: "col" }, name)));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...entries.map(row)));
}

function row({ number, added_at: at, source, words }) {
  const since = el("time", { datetime: at }, dayTime(at));
  return el("tr", {}, el("th", { scope: "row" }, number), el("td", {}, since), el("td", {}, source), el("td", {}, words));
}

function state(wrong) {
  place("state").textContent = wrong || "Loaded";
  place("state").dataset.on = String(!wrong);
}

async function change(event) {
  event.preventDefault();
  const { number, words, by } = form.elements;
  keepName(by.value);
  const adds = event.submitter?.value !== "remove";
  const word = { number: number.value, by: by.value };
  const done = await (adds ? act("/api/do-not-call", { ...word, words: words.value }) : act("/api/do-not-call/remove", word));
  place("told").textContent = done.ok ? outcome(done.body, adds) : problem(done);
  if (!done.ok) return;
  number.value = words.value = "";
  number.focus();
  skip = 0;
  look();
}

function outcome({ number, new: fresh }, adds) {
  if (!adds) return `${number} is off the list and may be called again.`;
  return fresh ? `${number} is on the list.` : `${number} is already on the list.`;
}

needsAct(...form.querySelectorAll("button"), show);
form.elements.by.value = ownName();
form.querySelector(".own-name").hidden = Boolean(signedInName);
form.addEventListener("submit", change);
show.addEventListener("click", () => {
  numbers = !numbers;
  show.setAttribute("aria-pressed", String(numbers));
  show.textContent = numbers ? "Mask numbers and words" : "Show numbers and words";
  look();
});
older.addEventListener("click", () => turn(PAGE));
newer.addEventListener("click", () => turn(-PAGE));

function turn(by) {
  skip = Math.max(0, skip + by);
  look();
}

look();
