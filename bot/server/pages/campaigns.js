/** The campaigns: state, reason for waiting, progress, outcomes of dials. */

import { act, ask, problem, sendFile } from "./asking.js";
import { clockTime, confirmed, drawInPlace, el, listed } from "./dom.js";
import { paced } from "./pacing.js";

const DRAW_MS = 250;
const ROWS = 30; // more are counted, not drawn
const MAX_S = 14 * 24 * 3600; // horizon of the server's estimate
const NONE = "No campaign is configured. Add one under campaigns in the configuration; its progress and buttons appear here.";

const TOO_LARGE = "The file is too large for the browser. Use: holdline campaign import FILE";

const MOVES = { ready: [["start", "Start"]], running: [["pause", "Pause"]], paused: [["resume", "Resume"]], done: [["start", "Start again"]] };
const STATES = { ready: ["plain", "Not started"], running: ["good", "Running"], paused: ["warn", "Paused"], done: ["good", "Done"] };
const HELD = { tone: "bad", text: "Held" };

const TONES = { completed: "good", agent_failed: "bad", failed: "warn", unknown: "warn" };

/** The card; pass it the live feed's campaigns. */
export class Campaigns {
  #list = el("ul", { class: "campaigns" });
  #said = el("p", { class: "empty", role: "status" }, "Loading…");
  #wrong = el("p", { class: "problem", role: "status" });
  #campaigns = [];
  #problem = "";
  #known = false;
  #soon = paced(() => this.#draw(), DRAW_MS);

  constructor(place) {
    const link = el("a", { href: "/do-not-call" }, "Do-not-call list");
    place.append(this.#said, this.#list, this.#wrong, el("p", { class: "links" }, link));
  }

  /** Show all campaigns: {campaigns, problem}. */
  show({ campaigns, problem: trouble }) {
    this.#campaigns = campaigns;
    this.#problem = trouble;
    this.#known = true;
    this.#soon();
  }

  #draw() {
    const shown = this.#campaigns.slice(0, ROWS);
    drawInPlace(this.#list, ...shown.map((campaign) => this.#row(campaign)));
    const more = this.#campaigns.length - shown.length;
    const said = [this.#problem && `${this.#problem} The data shown is old.`, more > 0 && `and ${more} more`];
    const text = this.#known && !this.#campaigns.length && !this.#problem ? NONE : said.filter(Boolean).join(" ");
    if (this.#said.textContent !== text) this.#said.textContent = text;
    this.#said.hidden = !text;
  }

  #row(campaign) {
    const { tone, text } = condition(campaign);
    const state = el("span", { class: "condition", "data-tone": tone }, text);
    const buttons = campaign.all_contacts ? MOVES[campaign.state] ?? [] : [];
    const choices = el("span", { class: "choices" }, this.#adding(campaign), campaign.all_contacts ? removing(campaign) : null, ...buttons.map(([move, says]) => this.#button(campaign, move, says)));
    const head = el("div", { class: "head" }, el("strong", {}, campaign.name), state, choices);
    const why = explain(campaign);
    const parts = [head, why && el("p", { class: "why-waits", "data-tone": tone }, why)];
    if (campaign.all_contacts) parts.push(bar(campaign), figures(campaign), outcomes(campaign), excluded(campaign), links(campaign));
    return el("li", { "data-campaign": campaign.name, "data-tone": tone }, ...parts.filter(Boolean));
  }

  #button({ name }, move, text) {
    const go = async () => {
      if (move === "start" && !(await agreesToStart(name))) return;
      const done = await act(`${pathOf(name)}/${move}`);
      this.#wrong.textContent = done.ok ? "" : problem(done);
      if (done.ok) this.#learn(done.body);
    };
    return el("button", { type: "button", "data-act": `campaign ${name}`, "aria-label": `${text}: ${name}`, onclick: go }, text);
  }

  #adding({ name }) {
    const says = "Add contacts";
    return el("button", { type: "button", "data-act": `contacts ${name}`, "aria-label": `${says}: ${name}`, onclick: () => addContacts(name) }, says);
  }

  /** Show a campaign that was changed here; the feed updates the others. */
  #learn(changed) {
    this.#campaigns = this.#campaigns.map((campaign) => (campaign.name === changed.name ? changed : campaign));
    this.#draw();
  }
}

/** A button to take one contact out of a campaign, by its number. */
function removing({ name }) {
  const says = "Take out a contact";
  return el("button", { type: "button", "data-act": `remove ${name}`, "aria-label": `${says}: ${name}`, onclick: () => removeContact(name) }, says);
}

async function removeContact(name) {
  const title = `Take out a contact of ${name}`;
  const number = el("input", { type: "tel", maxlength: "60", required: true, autocomplete: "off", placeholder: "+49301234567" });
  const hint = "The contact is not dialled again. A call in progress goes on.";
  if (!(await confirmed(title, [el("p", { class: "hint" }, hint), el("label", {}, "Number", number)], "Take out"))) return;
  const done = await act(`${pathOf(name)}/contacts/remove`, { number: number.value });
  const says = done.ok ? `${done.body.number} is not dialled again by this campaign.` : problem(done);
  confirmed(title, [el("p", { class: done.ok ? "" : "problem" }, says)]);
}

/** Show what a start would do; return whether the operator confirms it. */
async function agreesToStart(name) {
  const found = await ask(`${pathOf(name)}/summary`);
  const { body } = found;
  const title = `Start ${name}`;
  if (found.status !== 200) return confirmed(title, [el("p", { class: "problem" }, problem(found))]);
  if (body.why_none) return confirmed(title, [el("p", { class: "problem" }, `${body.why_none}.`)]);
  return confirmed(title, [listed(body.lines)], `Call ${body.callable} contacts`);
}

/** Let the operator choose a file, show what an import would add and refuse, and import it. */
function addContacts(name) {
  const input = el("input", { type: "file", accept: ".csv,.txt,text/csv,text/plain" });
  input.addEventListener("change", async () => {
    const [file] = input.files;
    const title = `Add contacts to ${name}`;
    const seen = await sendFile(`${pathOf(name)}/contacts?preview=true`, file);
    const wrong = seen.status === 413 ? `${TOO_LARGE} --campaign ${name}` : !seen.ok && problem(seen);
    if (wrong) return confirmed(title, [el("p", { class: "problem" }, wrong)]);
    const { added, updated } = seen.body;
    const wanted = await confirmed(title, previewed(seen.body), added + updated ? `Add ${added + updated} contacts` : "");
    if (!wanted) return;
    const done = await sendFile(`${pathOf(name)}/contacts?preview=false`, file);
    if (!done.ok) confirmed(title, [el("p", { class: "problem" }, problem(done))]);
  });
  input.click();
}

/** What an import does, with each refusal and its cure. */
function previewed({ rows, added, updated, known, refused, never, about_columns: columns, encoding, sample }) {
  const counts = [`${rows} rows`, `${added} new contacts`, updated && `${updated} updated`, known && `${known} already known`];
  const guess = sample.length ? `The file's encoding is a guess (${encoding}). Names in it: ${sample.join(", ")}. If they are wrong, save the file as CSV UTF-8.` : "";
  const reasons = refused.map(({ reason, contacts, cure, lines }) => {
    const more = contacts > lines.length ? ", …" : "";
    return `${contacts} refused, line ${lines.join(", ")}${more}: ${cure || reason}`;
  });
  const silent = never.map(({ reason, contacts, cure }) => `${contacts} cannot be called now: ${cure || reason}`);
  return [el("p", {}, `${counts.filter(Boolean).join(", ")}.`), guess && el("p", { class: "hint" }, guess), columns && el("p", { class: "problem" }, columns), listed([...reasons, ...silent])].filter(Boolean);
}

function pathOf(name) {
  return `/api/campaigns/${encodeURIComponent(name)}`;
}

/** The condition of a campaign, in a word or two. */
function condition({ state, held, waits, on_outage }) {
  if (!waits) return { tone: STATES[state]?.[0] ?? "plain", text: STATES[state]?.[1] ?? state };
  if (!held.outage) return { tone: "warn", text: "Held" };
  if (on_outage === "degraded" && held.reason.endsWith("_down")) return { tone: "warn", text: "Running" };
  return HELD;
}

/** Why a campaign has nothing to do, waits or is paused, as a sentence; otherwise empty. */
function explain({ name, held, waits, says, all_contacts: all }) {
  if (!all) return `It has no contacts. Add a CSV file here, or with: holdline campaign import FILE --campaign ${name}`;
  return waits && held.since_s ? `${says} Since ${clockTime(1000 * held.since_s)}.` : says;
}

function bar({ name, finished, all_contacts: all }) {
  const done = `${finished} of ${all} contacts done`;
  return el("progress", { max: String(all), value: String(finished), "aria-label": `${name}: ${done}` }, done);
}

function figures(campaign) {
  const { finished, all_contacts: all, state, left_s, calls_now: now, calls_today: calls, spent_today: spent } = campaign;
  const pairs = [
    ["Contacts done", `${finished} of ${all}`],
    ["Time left", state === "running" ? duration(left_s) : "–"],
    ["Calls now", String(now)],
    ["Calls today", limited(String(calls), campaign.daily_calls)],
    ["Spent today", `${limited(spent.toFixed(2), campaign.daily_spend?.toFixed(2))} ${campaign.currency}`],
  ];
  return el("dl", { class: "figures" }, ...pairs.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))));
}

/** The outcomes of a campaign's dials: a bar for each, the most frequent first. */
function outcomes({ name, outcomes: counts, outcomes_say: says }) {
  const sorted = Object.entries(counts).sort(([one, few], [other, many]) => many - few || one.localeCompare(other));
  if (!sorted.length) return el("p", { class: "empty" }, "No dials yet. Their outcomes appear here.");
  const most = sorted[0][1];
  return el("ul", { class: "outcomes", "aria-label": `Outcomes of the dials of ${name}` }, ...sorted.map(([outcome, count]) => outcomeRow(outcome, count, most, says)));
}

function outcomeRow(outcome, count, most, says) {
  const line = el("span", { class: "bar", "data-tone": TONES[outcome] ?? "plain" });
  line.style.width = `${(100 * count) / most}%`;
  const track = el("span", { class: "track", "aria-hidden": "true" }, line);
  return el("li", { "data-outcome": outcome }, el("span", {}, says[outcome] ?? outcome), track, el("span", { class: "count" }, String(count)));
}

/** Why contacts are excluded, with the cure. */
function excluded({ excluded: reasons }) {
  return reasons?.length ? el("div", { class: "hint" }, "Excluded contacts:", listed(reasons)) : null;
}

function links({ name }) {
  const path = `${pathOf(name)}/report`;
  const page = el("a", { href: `${path}.html`, target: "_blank", rel: "noopener", "aria-label": `Report of ${name}` }, "Report");
  const lines = el("a", { href: `${path}.csv`, "aria-label": `Contacts as CSV: ${name}, numbers masked` }, "Contacts as CSV");
  return el("p", { class: "links" }, page, lines);
}

/** Format an estimated duration. */
function duration(left_s) {
  if (left_s === null) return "unknown";
  if (left_s >= MAX_S) return "two weeks or more";
  if (left_s < 90) return "about a minute";
  if (left_s < 5400) return `about ${Math.round(left_s / 60)} min`;
  return left_s < 48 * 3600 ? `about ${Math.round(left_s / 3600)} h` : `about ${Math.round(left_s / 86400)} days`;
}

function limited(value, limit) {
  return limit === null || limit === undefined ? value : `${value} of ${limit}`;
}
