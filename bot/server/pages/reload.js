/** Has the configuration read anew, for the next calls; a wrong one changes nothing. */

import { act, problem } from "./asking.js";
import { el } from "./dom.js";

const SHOWN = 5; // what is wrong, or what changes

/** Put the button into `place`. */
export function mountReload(place) {
  const said = el("p", { role: "status", class: "hint" });
  const button = el("button", { type: "button", onclick: go }, "Bring the configuration into force");
  place.append(el("span", { class: "choices" }, button), said);

  async function go() {
    button.disabled = true;
    said.textContent = "Reading it…";
    const done = await act("/api/reload");
    said.textContent = done.ok ? changed(done.body?.changed ?? []) : wrong(done);
    button.disabled = false;
  }
}

function changed(keys) {
  if (!keys.length) return "Nothing has changed.";
  return `For the next calls: ${some(keys)}. Calls in progress end as they began.`;
}

function wrong(done) {
  const problems = done.body?.problems ?? [];
  return [problem(done), problems.length ? some(problems) : null].filter(Boolean).join(" ");
}

function some(texts) {
  const more = texts.length > SHOWN ? ` and ${texts.length - SHOWN} more` : "";
  return texts.slice(0, SHOWN).join("; ") + more;
}
