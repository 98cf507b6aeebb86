/** Controls of a call: mute, microphone, keypad. */

import { el } from "./dom.js";

const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#"];
const SPOKEN = { "*": "star", "#": "hash" };
const TYPED_INTO = "input, select, textarea, [contenteditable]";

/** Controls of a telephone, visible during a call. */
export class Controls {
  #phone;
  #mute = el("button", { type: "button", class: "mute", "aria-pressed": "false", onclick: () => this.#toggleMute() }, "Mute");
  #select = el("select", { "aria-label": "Microphone", onchange: () => this.#choose() });
  #pad = el("details", { class: "keypad" }, el("summary", {}, "Keypad"), el("div", { class: "keys", role: "group", "aria-label": "Keypad" }, ...this.#keys()));
  #element = el("div", { class: "controls", hidden: true }, this.#mute, this.#select, this.#pad);
  #say;

  /** `say` shows a note to the user. */
  constructor(phone, say) {
    this.#phone = phone;
    this.#say = say;
    phone.addEventListener("muted", ({ detail }) => this.#mute.setAttribute("aria-pressed", String(detail)));
    phone.addEventListener("microphones", ({ detail }) => this.#list(detail));
    phone.addEventListener("state", () => this.#moved());
    addEventListener("keydown", (event) => this.#typed(event));
  }

  get element() {
    return this.#element;
  }

  #keys() {
    return KEYS.map((key) => {
      const name = { "aria-label": SPOKEN[key] ?? null };
      return el("button", { type: "button", "data-key": key, ...name, onclick: () => this.#press(key) }, key);
    });
  }

  #moved() {
    this.#element.hidden = !["in_call", "reconnecting"].includes(this.#phone.state);
    for (const key of this.#element.querySelectorAll("[data-key]")) key.disabled = this.#phone.state !== "in_call";
  }

  #toggleMute() {
    const muted = this.#mute.getAttribute("aria-pressed") !== "true";
    this.#phone.mute(muted);
    this.#say(muted ? "Your microphone is muted." : "Your microphone is on.");
  }

  #list({ list, id }) {
    const options = list.map(({ id: value, name }) => el("option", { value, selected: value === id }, name));
    this.#select.replaceChildren(...options);
    this.#select.hidden = list.length < 2;
  }

  async #choose() {
    const name = this.#select.selectedOptions[0]?.textContent;
    try {
      await this.#phone.speakThrough(this.#select.value);
      this.#say(`Microphone in use: ${name}.`);
    } catch (error) {
      this.#say(error.message); // the previous microphone stays in use
    }
  }

  #press(key) {
    this.#phone.press(key);
    this.#say(`You pressed ${key}.`);
  }

  /** The keyboard's keys press those of the keypad, except in input fields. */
  #typed(event) {
    const ours = KEYS.includes(event.key) && !event.ctrlKey && !event.altKey && !event.metaKey && !event.repeat;
    if (!ours || this.#phone.state !== "in_call" || event.target.closest?.(TYPED_INTO)) return;
    this.#press(event.key);
  }
}
