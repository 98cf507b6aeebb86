/** Reloads the configuration for new calls; a file with errors changes nothing. */

import { act, problem } from "./asking.js";
import { el } from "./dom.js";

const SHOWN = 5; // problems or changed keys

/** Put the button into `place`. */
export function mountReload(place) {
  const said = el("p", { role: "status", class: "hint" });
  const button = el("button", { type: "button", "data-act": "reload", onclick: go }, "Reload configuration");
  place.append(el("span", { class: "choices" }, button), said);

  async function go() {
    button.disabled = true;
    said.textContent = "Loading…";
    const done = await act("/api/reload");
    said.textContent = done.ok ? `${changed(done.body?.changed ?? [])}${elsewhere(done.body ?? {})}` : wrong(done);
    button.disabled = false;
  }
}

function changed(keys) {
  if (!keys.length) return "Nothing has changed.";
  return `Changed for new calls: ${some(keys)}. Calls in progress keep their configuration.`;
}

/** Which of several machines have another configuration than this one, the first. */
function elsewhere({ machines: [own, ...others] = [], store_problem: storeProblem }) {
  if (storeProblem) return " The configuration of the other machines is not known, because the store does not answer.";
  if (!others.length) return "";
  const different = others.filter(({ configuration }) => configuration !== own.configuration);
  const names = different.map(({ machine }) => machine || "without a name").join(", ");
  return different.length ? ` Another configuration is in use on: ${names}. Reload there, too.` : ` All ${1 + others.length} machines have the same configuration.`;
}

function wrong(done) {
  const problems = done.body?.problems ?? [];
  return [problem(done), problems.length ? some(problems) : null].filter(Boolean).join(" ");
}

function some(texts) {
  const more = texts.length > SHOWN ? ` and ${texts.length - SHOWN} more` : "";
  return texts.slice(0, SHOWN).join("; ") + more;
}
