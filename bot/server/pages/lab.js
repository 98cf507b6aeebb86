/** Switches that break the simulated providers, if the fault lab runs. */

import { el, needsAct } from "./dom.js";
import { every } from "./pacing.js";

const POLL_MS = 2000;

const STAGES = new Map([
  ["stt", "Speech recognition"],
  ["llm", "Language model"],
  ["tts", "Voice"],
]);
const OTHERS = "Others";

/** Faults with a button of their own, which breaks the first provider of the stage. */
const BIG = [
  { stage: "tts", fault: "cut", text: "Cut the voice off in mid-sentence" },
  { stage: "llm", fault: "http", text: "Make the model answer with an error" },
  { stage: "stt", fault: "silent", text: "Make the recognition go silent" },
];

/** How often a fault occurs, in the format of the lab's windows. */
const OFTEN = [
  ["every time", {}],
  ["3 times in 10", { p: 0.3 }],
  ["once", { requests: 1 }],
];

/** Show the lab in `place`, or leave it hidden without a lab. */
export async function mountLab(place) {
  const [instances, menu] = await Promise.all([ask("/api/lab/instances"), ask("/api/lab/faults")]);
  if (!instances?.length || !menu?.length) return;
  const cards = new Map(instances.map((instance) => [instance.name, new Card(instance, menu)]));
  place.querySelector(".faults").append(...bigFaults(instances, cards));
  place.querySelector(".providers").append(...groups(instances, cards));
  place.hidden = false;
  every(POLL_MS, () => refresh(cards));
}

function groups(instances, cards) {
  const titled = new Map([...STAGES.values(), OTHERS].map((title) => [title, []]));
  for (const { name, stage } of instances) titled.get(STAGES.get(stage) ?? OTHERS).push(cards.get(name).element);
  return [...titled].filter(([, own]) => own.length).map(([title, own]) => el("div", { class: "stage" }, el("h3", {}, title), ...own));
}

function bigFaults(instances, cards) {
  const found = BIG.map(({ stage, fault, text }) => cards.get(instances.find((item) => item.stage === stage)?.name)?.bigFault(fault, text));
  return found.filter(Boolean);
}

async function refresh(cards) {
  const instances = await ask("/api/lab/instances");
  for (const instance of instances ?? []) cards.get(instance.name)?.show(instance);
}

async function ask(path, options) {
  try {
    const response = await fetch(path, options);
    return response.ok ? await response.json().catch(() => ({})) : null;
  } catch {
    return null; // the server does not answer; the page shows that elsewhere
  }
}

/** One simulated provider: its faults, and a switch for them. */
class Card {
  #name;
  #menu;
  #busy = false;
  #broken = false;
  #big = null; // the button of one of its faults, outside the card

  #state = el("span", { class: "working" });
  #requests = el("span");
  #faults = el("select", { onchange: () => this.#chosen() });
  #fields = el("div", { class: "fields", onchange: () => this.#changed() });
  #often = el("select", { onchange: () => this.#changed() }, ...OFTEN.map(([label]) => el("option", {}, label)));
  #switch = el("button", { type: "button", role: "switch", class: "switch", "aria-checked": "false", onclick: () => this.#flip() });
  #problem = el("p", { class: "problem", role: "alert" });

  constructor(instance, menu) {
    this.#name = instance.name;
    this.#menu = new Map(menu.map((fault) => [fault.fault, fault]));
    this.#faults.append(...menu.map(({ fault, label }) => el("option", { value: fault }, label ?? fault)));
    this.#faults.setAttribute("aria-label", `What goes wrong with ${this.#name}`);
    this.#switch.setAttribute("aria-label", `Break ${this.#name}`);
    needsAct(this.#switch);
    this.#often.setAttribute("aria-label", `How often it goes wrong with ${this.#name}`);
    this.#select(instance.faults ?? []);
    this.element = el(
      "div",
      { class: "provider", role: "group", "aria-label": this.#name, "data-provider": this.#name },
      el("strong", {}, this.#name),
      el("p", { class: "health" }, this.#state, this.#requests),
      this.#switch,
      el("div", { class: "choice" }, this.#faults, this.#often, this.#fields),
      this.#problem,
    );
    this.show(instance);
  }

  /** Make the button of one fault, with its usual values; `null` if the lab has no such fault. */
  bigFault(fault, text) {
    if (!this.#menu.has(fault)) return null;
    const press = () => {
      if (this.#broken) return this.#send("DELETE");
      const window = usual(this.#menu.get(fault));
      this.#select([window]);
      return this.#send("PUT", [window]);
    };
    this.#big = el("button", { type: "button", role: "switch", class: "fault", "aria-checked": String(this.#broken), onclick: press }, el("strong", {}, text), el("span", {}, this.#name));
    needsAct(this.#big);
    return this.#big;
  }

  /** Show the provider's state on the server. */
  show({ faults = [], requests = 0 }) {
    if (this.#busy) return; // the last click's request is in progress
    this.#broken = faults.length > 0;
    const labels = faults.map(({ fault }) => this.#menu.get(fault)?.label ?? fault);
    this.#state.textContent = this.#broken ? labels.join(", ") : "Working";
    for (const button of [this.#switch, this.#big]) button?.setAttribute("aria-checked", String(this.#broken));
    this.element.classList.toggle("broken", this.#broken);
    this.#requests.textContent = requests === 1 ? "1 request" : `${requests} requests`;
  }

  #flip() {
    return this.#broken ? this.#send("DELETE") : this.#send("PUT", [this.#window()]);
  }

  #select([first]) {
    if (this.#menu.has(first?.fault)) this.#faults.value = first.fault; // it was broken before this page opened
    this.#showFields();
  }

  #chosen() {
    this.#showFields();
    this.#changed();
  }

  #changed() {
    if (this.#broken) this.#send("PUT", [this.#window()]);
  }

  async #send(method, windows) {
    this.#busy = true;
    const body = windows && JSON.stringify(windows);
    const headers = windows && { "content-type": "application/json" };
    const path = `/api/lab/instances/${encodeURIComponent(this.#name)}/faults`;
    const done = await ask(path, { method, headers, body });
    this.#problem.textContent = done === null ? "The lab refused this." : "";
    const instances = await ask("/api/lab/instances");
    this.#busy = false;
    const own = instances?.find(({ name }) => name === this.#name);
    if (own) this.show(own);
  }

  #showFields() {
    const { fields = [] } = this.#menu.get(this.#faults.value) ?? {};
    this.#fields.replaceChildren(...fields.map((field) => control(field, this.#name)));
  }

  #window() {
    const values = [...this.#fields.querySelectorAll("[name]")].map(valueOf);
    const [, often] = OFTEN[this.#often.selectedIndex];
    return { fault: this.#faults.value, ...Object.fromEntries(values.filter(([, value]) => value !== undefined)), ...often };
  }
}

/** A fault with its default values. */
function usual({ fault, fields = [] }) {
  const set = fields.filter(({ default: value }) => value !== null && value !== undefined);
  return { fault, ...Object.fromEntries(set.map(({ name, default: value }) => [name, value])) };
}

function control(field, provider) {
  const label = field.name.replace(/_s$/, " (s)").replaceAll("_", " ");
  return el("label", { title: field.takes }, el("span", {}, label), input(field, `${label}, ${provider}`));
}

function input({ name, default: value, choices = [], takes = "" }, described) {
  const shared = { name, "aria-label": described };
  if (choices.length) {
    return el("select", shared, ...choices.map((choice) => el("option", { selected: choice === value }, choice)));
  }
  if (typeof value === "boolean") return el("input", { ...shared, type: "checkbox", checked: value });
  const type = takes.startsWith("a text") ? "text" : "number";
  return el("input", { ...shared, type, step: "any", value: value ?? "", placeholder: "none", size: "6" });
}

function valueOf(field) {
  if (field.type === "checkbox") return [field.name, field.checked];
  if (field.value === "") return [field.name, undefined]; // use the default
  return [field.name, field.type === "number" ? field.valueAsNumber : field.value];
}
