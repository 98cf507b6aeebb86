/** Asks an operator for name and reason before an action that is recorded. */

import { keepName, ownName } from "./asking.js";
import { acting, el, signedInName } from "./dom.js";

/**
 * Show the dialog. `act({by, why, force})` runs the action and returns the problem, or an empty text;
 * a problem is shown in the dialog, which then offers to force the action.
 */
export function askWhy({ title, says, confirm, act }) {
  const back = document.activeElement;
  const name = el("input", { name: "by", maxlength: "80", autocomplete: "name", value: ownName() });
  const why = el("input", { name: "why", maxlength: "200", autocomplete: "off", autofocus: true });
  const wrong = el("p", { class: "problem", role: "status" });
  const force = el("input", { type: "checkbox", name: "force" });
  const forced = el("label", { class: "force", hidden: true }, force, " Do it anyway");
  const form = el(
    "form",
    { method: "dialog", onsubmit: submit },
    el("h2", { id: "why-title" }, title),
    el("p", { class: "hint" }, says),
    el("label", {}, "Reason", why),
    signedInName ? null : el("label", {}, "Your name", name),
    wrong,
    forced,
    el("div", { class: "choices" }, el("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), el("button", { class: "go" }, confirm)),
  );
  const dialog = el("dialog", { class: "why", "aria-labelledby": "why-title", onclose: leave }, form);
  document.body.append(dialog);
  dialog.showModal();

  async function submit(event) {
    event.preventDefault();
    keepName(name.value);
    const found = await act({ by: name.value, why: why.value, force: force.checked });
    if (!found) return dialog.close();
    wrong.textContent = found;
    forced.hidden = false;
    force.focus();
  }

  function leave() {
    dialog.remove();
    (back?.isConnected ? back : acting(back?.dataset?.act ?? ""))?.focus(); // it may have been redrawn
  }
}
