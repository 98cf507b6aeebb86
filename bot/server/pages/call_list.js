/** The list of calls: by date, party, agent, campaign, result and verdict. */

import { ask, problem } from "./asking.js";
import { heads, link, row, tone } from "./call_columns.js";
import { clock, dayTime, el } from "./dom.js";

const PAGE = 50;
const DAY_MS = 24 * 3600 * 1000;

const place = (id) => document.getElementById(id);
const form = place("filters");
const body = el("tbody", { role: "rowgroup" });
place("rows").append(heads(), body);

let last = null; // when the oldest call on the page began

/** The filter as query parameters, which the page's own URL has, too. */
function query() {
  const parameters = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value.trim()) parameters.set(name, value.trim());
  return parameters;
}

/** The parameters for the server: days in the browser's time zone become times in UTC. */
function serverQuery(more = {}) {
  const parameters = query();
  const since = parameters.get("since");
  const until = parameters.get("until");
  parameters.delete("until");
  if (since) parameters.set("since", new Date(`${since}T00:00:00`).toISOString());
  if (until) parameters.set("before", new Date(new Date(`${until}T00:00:00`).getTime() + DAY_MS).toISOString());
  for (const [name, value] of Object.entries(more)) parameters.set(name, value);
  return parameters;
}

async function look({ older = false } = {}) {
  const more = older && last ? { before: last } : {};
  const found = await ask(`/api/calls/search?${serverQuery({ limit: PAGE, ...more })}`);
  if (!found.ok) return state(problem(found), false);
  const { calls, choices, sums = [] } = found.body;
  if (!older) place("sums").replaceChildren(...summed(sums));
  const rows = calls.map(rowOf);
  if (older) body.append(...rows);
  else body.replaceChildren(...rows);
  last = calls.at(-1)?.started_at ?? last;
  place("older").hidden = calls.length < PAGE;
  place("empty").hidden = body.rows.length > 0;
  place("csv").href = `/api/calls/search.csv?${serverQuery()}`;
  offer("agent", choices.agents);
  offer("campaign", choices.campaigns);
  offer("result", choices.results, choices.results_say);
  state(`${body.rows.length} calls`, true);
  if (older) rows[0]?.querySelector("a")?.focus();
}

const VERDICTS = ["served", "degraded", "hurt", "lost"];

/** The sums of the filter, and a bar for each day. */
function summed(sums) {
  if (!sums.length) return [];
  const calls = (rows) => rows.reduce((total, row) => total + row.calls, 0);
  const of = (rows, verdict) => rows.filter((row) => row.verdict === verdict);
  const costs = new Map();
  for (const { cost, currency } of sums) if (cost !== null) costs.set(currency, (costs.get(currency) ?? 0) + cost);
  const money = [...costs].map(([currency, cost]) => `${cost.toFixed(2)} ${currency}`).join(", ") || "unknown";
  const facts = [["Calls", calls(sums)], ...VERDICTS.map((verdict) => [verdict[0].toUpperCase() + verdict.slice(1), calls(of(sums, verdict))]), ["Cost", money]];
  const days = grouped(sums);
  const most = Math.max(...[...days.values()].map(calls));
  const bar = ([day, rows]) => {
    const hurt = calls(of(rows, "hurt")) + calls(of(rows, "lost"));
    const meter = el("meter", { min: "0", max: String(most), value: String(calls(rows)), "aria-label": `Calls on ${day}` });
    return el("li", { "data-tone": hurt ? "bad" : "good" }, el("span", {}, day), meter, el("span", {}, `${calls(rows)}${hurt ? `, ${hurt} hurt or lost` : ""}`));
  };
  const figures = el("dl", { class: "figures" }, ...facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))));
  const bars = el("details", { open: days.size > 1 && days.size <= 31 }, el("summary", {}, `By day (UTC), ${days.size}`), el("ol", { class: "outcomes" }, ...[...days].slice(0, 366).map(bar)));
  return [figures, bars];
}

function grouped(sums) {
  const days = new Map();
  for (const row of sums) days.set(row.day, [...(days.get(row.day) ?? []), row]);
  return days;
}

function state(text, on) {
  place("state").textContent = text;
  place("state").dataset.on = String(on);
}

/** Offer the recorded values; keep the chosen one. */
function offer(name, values, words = {}) {
  const select = form.elements[name];
  const chosen = select.value || new URLSearchParams(location.search).get(name) || "";
  const all = chosen && !values.includes(chosen) ? [...values, chosen] : values;
  select.replaceChildren(el("option", { value: "" }, "all"), ...all.map((value) => el("option", { value }, words[value] ?? value)));
  select.value = chosen;
}

function rowOf(call) {
  const { name, agent, campaign, length_s: length, state: stands, result_says: result, verdict, why_says: why } = call;
  const contents = {
    began: el("time", { datetime: call.started_at }, dayTime(call.started_at)),
    number: link(call),
    name,
    agent: [call.direction === "outbound" ? "we called" : null, campaign || agent].filter(Boolean).join(", "),
    length: length === null ? (stands === "live" ? "in progress" : "–") : clock(1000 * length),
    result,
    verdict: why && verdict !== "served" ? `${verdict}: ${why}` : verdict || "–",
  };
  return row(contents, { "data-tone": tone(verdict) });
}

function show() {
  history.replaceState(null, "", query().size ? `?${query()}` : location.pathname);
  return look();
}

for (const [name, value] of new URLSearchParams(location.search)) {
  const field = form.elements[name];
  if (field?.tagName === "SELECT" && ![...field.options].some((option) => option.value === value)) field.append(el("option", { value }, value));
  if (field) field.value = value;
}
form.addEventListener("submit", (event) => {
  event.preventDefault();
  show();
});
form.addEventListener("reset", () => setTimeout(show));
place("older").addEventListener("click", () => look({ older: true }));
look();
