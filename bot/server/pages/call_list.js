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
  const { calls, choices } = found.body;
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
  const { name, agent, campaign, length_s: length, state: stands, result_says: result, verdict } = call;
  const contents = {
    began: el("time", { datetime: call.started_at }, dayTime(call.started_at)),
    number: link(call),
    name,
    agent: campaign || agent,
    length: length === null ? (stands === "live" ? "in progress" : "–") : clock(1000 * length),
    result,
    verdict: verdict || "–",
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
