// A record that is made up here, scored by the model on stage.

import { call, pathOf } from "./call.js";
import { byId, element } from "./dom.js";

const KEPT = 5;

export class Trial {
  #dataType = null;
  #features = [];

  constructor() {
    byId("try").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#score();
    });
  }

  show(dataType, features) {
    this.#dataType = dataType;
    this.#features = features;
    byId("try-fields").replaceChildren(...features.map(field));
    byId("try-results").replaceChildren();
  }

  async #score() {
    const dataType = this.#dataType;
    const given = this.#features.map((each) => [each.name, valueOf(each)]);
    const record = Object.fromEntries(given.filter(([, value]) => value !== undefined));
    const { status, body } = await call("POST", pathOf("score", dataType), record);
    if (dataType !== this.#dataType) return;
    const results = byId("try-results");
    results.prepend(status === 200 ? answer(body) : failure(body.error));
    while (results.children.length > KEPT) results.lastElementChild.remove();
  }
}

function field(feature) {
  const { name, datatype, width } = feature;
  const numeric = datatype !== "BYTES" && datatype !== "BOOL" && width === null;
  const hint = width === null ? "" : ` (${width} numbers, with commas)`;
  const input =
    datatype === "BOOL" && width === null
      ? element("select", { name }, ...["", "true", "false"].map((each) => element("option", {}, each)))
      : element("input", { name, autocomplete: "off", ...(numeric ? { type: "number", step: "any" } : {}) });
  return element("label", {}, `${name}${hint} `, input);
}

/** Return a field's value; undefined when it is empty, which the model is to judge. */
function valueOf({ name, datatype, width }) {
  const text = byId("try").elements.namedItem(name).value;
  if (text === "") return undefined;
  if (width !== null) return text.split(",").map((each) => (Number.isNaN(Number(each)) ? each.trim() : Number(each)));
  if (datatype === "BYTES") return text;
  return datatype === "BOOL" ? text === "true" : Number(text);
}

function answer({ model, policy, results: [result] }) {
  if (result.error) return failure(result.error);
  const { name, version } = result.model ?? model;
  const by = policy ? `by ${name}, version ${version}, which policy ${policy.name} chose` : `by ${name}, version ${version}`;
  const ranked = Object.entries(result.probabilities ?? {}).sort(([, one], [, other]) => other - one);
  return element(
    "div",
    { class: "result" },
    element("p", {}, element("strong", {}, String(result.label ?? result.value)), ` ${by}`),
    element("ul", {}, ...ranked.slice(0, 10).map(([label, share]) => probability(label, share))),
  );
}

function probability(label, share) {
  const text = `${label}: ${(share * 100).toFixed(1)} %`;
  return element("li", {}, `${text} `, element("progress", { max: "1", value: String(share), "aria-label": text }));
}

const failure = (text) => element("p", { class: "result bad" }, text);
