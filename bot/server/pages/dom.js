/** Helpers for elements and number formats. */

/** Whether the operator may only read: the server marks the pages that it sends them. */
export const readOnly = document.body?.dataset.role === "see";

/** Whether the fault lab runs: only then are its routes asked. */
export const hasLab = document.body?.dataset.lab === "on";

/** The name that this operator signed in with; empty without one. */
export const signedInName = document.body?.dataset.name ?? "";

/** Disable controls that a read-only operator may not use. */
export function needsAct(...controls) {
  for (const control of controls) {
    control.disabled = readOnly;
    if (readOnly) control.title = "Read-only access: this needs HOLDLINE_TOKEN";
  }
}

/** Make an element: el("p", {class: "note", hidden: true}, "text", child). */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  if (readOnly && tag === "button" && "data-act" in attributes) needsAct(element);
  return element;
}

const SAME = ["data-act", "aria-label", "href"]; // they identify a button or a link

/**
 * Make `fresh` the children of `place`. Matching elements are kept and updated, so that the focus stays, and
 * a press that began before the update still becomes a click. They keep their old listeners.
 */
export function drawInPlace(place, ...fresh) {
  const focused = place.contains(document.activeElement) && document.activeElement.dataset.act;
  merge(place, fresh);
  if (focused && document.activeElement?.dataset?.act !== focused) acting(focused, place)?.focus();
}

/** The button with this action. */
export function acting(act, place = document) {
  return place.querySelector(`[data-act="${CSS.escape(act)}"]`);
}

function merge(place, fresh) {
  const old = [...place.childNodes];
  fresh.forEach((node, index) => {
    if (index >= old.length) place.append(node);
    else if (same(old[index], node)) update(old[index], node);
    else old[index].replaceWith(node);
  });
  for (const node of old.slice(fresh.length)) node.remove();
}

function same(old, fresh) {
  if (old.nodeName !== fresh.nodeName) return false;
  return SAME.every((name) => old.getAttribute?.(name) === fresh.getAttribute?.(name));
}

function update(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  merge(old, [...fresh.childNodes]);
}

/** Make a list of sentences; `null` if there are none. */
export function listed(sentences) {
  return sentences.length ? el("ul", {}, ...sentences.map((sentence) => el("li", {}, sentence))) : null;
}

/** Show a dialog; return whether the button with the text `confirm` was pressed. Without it, only inform. */
export function confirmed(title, parts, confirm = "") {
  const back = document.activeElement;
  return new Promise((tell) => {
    const leave = () => {
      dialog.remove();
      (back?.isConnected ? back : acting(back?.dataset?.act ?? ""))?.focus(); // it may have been redrawn
      tell(dialog.returnValue === "go");
    };
    // Not a submit button: the Enter key in a field presses the first of these.
    const cancel = el("button", { type: "button", onclick: () => dialog.close("") }, confirm ? "Cancel" : "Close");
    const go = confirm ? el("button", { class: "go", value: "go" }, confirm) : null;
    const form = el("form", { method: "dialog" }, el("h2", { id: "confirm-title" }, title), ...parts, el("div", { class: "choices" }, cancel, go));
    const dialog = el("dialog", { class: "why", "aria-labelledby": "confirm-title", onclose: leave }, form);
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Format seconds: 0.87 s. */
export function seconds(value) {
  return `${value.toFixed(2)} s`;
}

/** Format the time that has passed since `ms`: 40 s, 12 min, 3 h. */
export function since(ms) {
  const past_s = Math.max(0, Math.round((Date.now() - ms) / 1000));
  if (past_s < 90) return `${past_s} s`;
  return past_s < 5400 ? `${Math.round(past_s / 60)} min` : `${Math.round(past_s / 3600)} h`;
}

/** Format a duration as on a telephone: 1:05. */
export function clock(ms) {
  const whole = Math.max(0, Math.floor(ms / 1000));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Format a time of day with its zone: 18:10:45 CET. */
export function clockTime(at) {
  return new Date(at).toLocaleTimeString([], { timeZoneName: "short" });
}

/** Format a time with its date and zone. */
export function dayTime(at) {
  return new Date(at).toLocaleString([], { timeZoneName: "short" });
}
