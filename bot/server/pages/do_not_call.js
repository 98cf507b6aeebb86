/** The page of the do-not-call list: its entries, their search, import and export, and a form to change them. */

import { act, ask, keepName, ownName, problem, sendFile } from "./asking.js";
import { confirmed, dayTime, el, listed, needsAct, readOnly, signedInName } from "./dom.js";

const PAGE = 50;
const COLUMNS = ["Number", "Since", "Source", "Words", ""];

const place = (id) => document.getElementById(id);
const form = document.querySelector("#change form");
const search = document.querySelector("#entries form");
const table = document.querySelector(".scroll");
const older = place("older");
const newer = place("newer");
const show = place("show");

let skip = 0;
let numbers = false; // whether they are shown in full

async function look() {
  const number = search.elements.search.value.trim();
  const query = new URLSearchParams({ skip, numbers, by: form.elements.by.value, number });
  const found = await ask(`/api/do-not-call?${query}`);
  state(found.ok ? "" : problem(found));
  if (!found.ok) return [];
  const { entries, more } = found.body;
  const none = number ? "No number on the list matches." : "No number is on the list.";
  table.replaceChildren(entries.length ? drawn(entries) : el("p", { class: "empty" }, none));
  older.hidden = !more;
  newer.hidden = skip === 0;
  return entries;
}

function drawn(entries) {
  const head = el("tr", {}, ...COLUMNS.map((name) => el("th", { scope: "col" }, name)));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...entries.map(row)));
}

function row(entry, index) {
  const { number, added_at: at, source, words } = entry;
  const since = el("time", { datetime: at }, dayTime(at));
  const remove = el("button", { type: "button", "data-act": `remove ${index}`, "aria-label": `Remove ${number}`, onclick: () => removeRow(entry, index) }, "Remove");
  return el("tr", {}, el("th", { scope: "row" }, number), el("td", {}, since), el("td", {}, source), el("td", { class: "words" }, words), el("td", { class: "choices" }, remove));
}

/** Take a row's number off the list; the dialog shows it in full, which is recorded. */
async function removeRow(entry, index) {
  if (!numbers) toggle();
  const now = (await look())[index];
  if (!now || now.added_at !== entry.added_at || !now.number.endsWith(entry.number.slice(-2))) {
    return state("The list has changed. Choose the row again.");
  }
  const { number } = now;
  if (!(await confirmed(`Remove ${number}`, [el("p", { class: "hint" }, "The number may be called again.")], "Remove"))) return;
  const done = await act("/api/do-not-call/remove", { number });
  place("told").textContent = done.ok ? outcome(done.body, false) : problem(done);
  look();
}

function toggle() {
  numbers = !numbers;
  show.setAttribute("aria-pressed", String(numbers));
  show.textContent = numbers ? "Mask numbers and words" : "Show numbers and words";
}

function importFile() {
  const input = el("input", { type: "file", accept: ".csv,.txt,text/csv,text/plain" });
  input.addEventListener("change", async () => {
    const [file] = input.files;
    keepName(form.elements.by.value);
    const done = await sendFile(`/api/do-not-call/import?name=${encodeURIComponent(file.name.slice(0, 80))}`, file);
    await confirmed(file.name, [done.ok ? listed(done.body.lines) : el("p", { class: "problem" }, problem(done))]);
    skip = 0;
    look();
  });
  input.click();
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

needsAct(...form.querySelectorAll("button"), place("import"), show);
form.elements.by.value = ownName();
form.querySelector(".own-name").hidden = Boolean(signedInName);
form.addEventListener("submit", change);
show.addEventListener("click", () => {
  toggle();
  look();
});
search.addEventListener("submit", (event) => {
  event.preventDefault();
  skip = 0;
  look();
});
place("import").addEventListener("click", importFile);
const exported = place("export");
exported.addEventListener("click", () => {
  exported.href = `/api/do-not-call/export.csv?${new URLSearchParams({ numbers: !readOnly, by: form.elements.by.value })}`;
});
exported.href = "/api/do-not-call/export.csv";
older.addEventListener("click", () => turn(PAGE));
newer.addEventListener("click", () => turn(-PAGE));

function turn(by) {
  skip = Math.max(0, skip + by);
  look();
}

look();
