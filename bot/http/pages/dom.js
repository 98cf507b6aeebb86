/** Making elements, and a few words about numbers. */

/** Make an element: el("p", {class: "note", hidden: true}, "text", child). */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A number of seconds for reading: 0.87 s. */
export function seconds(value) {
  return `${value.toFixed(2)} s`;
}

/** How long ago a moment was, roughly: 40 s, 12 min, 3 h. */
export function since(ms) {
  const past_s = Math.max(0, Math.round((Date.now() - ms) / 1000));
  if (past_s < 90) return `${past_s} s`;
  return past_s < 5400 ? `${Math.round(past_s / 60)} min` : `${Math.round(past_s / 3600)} h`;
}

/** A length of time as on a telephone: 1:05. */
export function clock(ms) {
  const whole = Math.max(0, Math.floor(ms / 1000));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
