/** The columns that the table of calls in progress and the list of calls share. */

import { el } from "./dom.js";

/** The class of each column's cells, and its heading. */
const COLUMNS = [["began", "Began"], ["number", "Number"], ["name", "Name"], ["agent", "Agent or campaign"], ["length", "Length"], ["result", "Result"], ["verdict", "Verdict"]];

const TONES = { degraded: "warn", hurt: "bad", lost: "bad" };

/** The tone of a verdict; a call without one counts as good. */
export function tone(verdict) {
  return TONES[verdict] ?? "good";
}

/** A link to the call's page: the last digits of the other party's number, or without one the transport. */
export function link({ id, ending, transport }) {
  return el("a", { href: `/calls/${encodeURIComponent(id)}` }, ending ? `… ${ending}` : transport);
}

/** The heading row. Its roles are explicit, because tables lose them when a small screen shows them as blocks. */
export function heads() {
  const cells = COLUMNS.map(([, head]) => el("th", { scope: "col", role: "columnheader" }, head));
  return el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...cells));
}

/** A row; `contents` has each cell's content, by class. */
export function row(contents, attributes) {
  const cells = COLUMNS.map(([name]) => el("td", { role: "cell", class: name }, ...[contents[name] ?? []].flat()));
  return el("tr", { role: "row", ...attributes }, ...cells);
}
