// What is on stage for a data type: its model, or its policy and the models on its slots.

import { Chart } from "./chart.js";
import { byId, element, keyed, rows, say } from "./dom.js";
import { whole } from "./history.js";
import { showResults } from "./results.js";
import { NOTHING, count, milliseconds, modelName, moment, rate } from "./texts.js";

export class Stage {
  #throughput = new Chart(byId("throughput"), [
    { key: "records", label: "records/s", colour: "--series-1" },
    { key: "errors", label: "errors/s", colour: "--series-2", dash: [6, 3] },
  ]);
  #latency = new Chart(byId("latency"), [
    { key: "p50", label: "p50", colour: "--series-1" },
    { key: "p90", label: "p90", colour: "--series-3", dash: [2, 3] },
    { key: "p99", label: "p99", colour: "--series-2", dash: [6, 3] },
  ]);

  /** Show a data type as it is, and its points so far. */
  show(name, state, points, publisher) {
    const model = whole(state);
    say(byId("stage-title"), `On stage for ${name}`);
    say(byId("stage-model"), model ? `${modelName(model)}, version ${model.version}` : "nothing");
    const trouble = state.error ?? (state.stale ? staleness(state) : "");
    say(byId("stage-trouble"), trouble);
    byId("stage-trouble").hidden = !trouble;
    facts(model ? factsOf(state, model, points.at(-1) ?? {}, publisher) : []);
    showResults(state.recent ?? []);
    slots(state);
    if (!document.hidden) this.#charts(points);
  }

  #charts(points) {
    const last = points.at(-1) ?? {};
    this.#throughput.show(points, `${rate(last.records)} records and ${rate(last.errors)} errors per second now`);
    this.#latency.show(points, `of the last 5 seconds: median ${milliseconds(last.p50)} ms, 99th percentile ${milliseconds(last.p99)} ms`);
  }
}

function staleness(state) {
  return `a node that serves it cannot be reached since ${moment(state.staleSince)}: its part of the figures is as it was then`;
}

function factsOf(state, model, point, publisher) {
  return [
    ["since", moment(model.since)],
    ["published by", publisher],
    ["format", state.modelType ?? NOTHING],
    ["description", model.description || NOTHING],
    ["SHA-256", model.sha256 ? `${model.sha256.slice(0, 12)}…` : NOTHING],
    ["records/s", rate(point.records)],
    ["errors/s", rate(point.errors)],
    ["records", count(model.usage)],
    ["errors", count(model.errors)],
    ...["p50", "p90", "p99", "p999"].map((key) => [`${key} ms`, milliseconds(model.usage ? model.percentiles[key] : null)]),
    ["nodes", Object.keys(model.replicas ?? { [state.node]: 0 }).join(", ")],
  ];
}

function facts(pairs) {
  keyed(byId("stage-facts"), pairs, {
    key: ([name]) => name,
    make: ([name]) => element("div", {}, element("dt", {}, name), element("dd")),
    update: (group, [, text]) => say(group.lastElementChild, text),
  });
}

function slots(state) {
  byId("slots").hidden = !state.slots;
  const { policy } = state;
  rows(
    byId("slots-rows"),
    Object.entries(state.slots ?? {}).map(([name, each]) => [
      policy.shadows.includes(name) ? `${name} (shadow)` : name,
      each.error ?? each.name,
      String(each.version ?? NOTHING),
      count(policy.choices[name]),
      count(policy.slots[name]?.late),
      count(policy.slots[name]?.failed),
      milliseconds(each.usage ? each.percentiles.p99 : null),
    ]),
  );
}
