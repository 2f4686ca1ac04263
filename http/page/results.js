// The records that were answered last, by whoever they were sent.

import { byId, element, keyed, say } from "./dom.js";
import { milliseconds } from "./texts.js";

export function showResults(recent) {
  byId("results-none").hidden = recent.length > 0;
  byId("results-table").hidden = recent.length === 0;
  keyed(byId("results"), recent.map(cells).map((texts, index) => ({ texts, index })), {
    key: ({ index }) => index,
    make: ({ texts }) => element("tr", {}, ...texts.map(() => element("td"))),
    update: (row, { texts }) => texts.forEach((text, index) => say(row.children[index], text)),
  });
}

function cells({ at, name, version, slot, label, value, error, milliseconds: time }) {
  const by = `${version} ${name}${slot && slot !== name ? ` (${slot})` : ""}`;
  const result = error ? `failed: ${error}` : String(label ?? round(value));
  return [new Date(at).toLocaleTimeString(), by, result, milliseconds(time)];
}

const round = (value) => (typeof value === "number" ? Number(value.toPrecision(6)) : "–");
