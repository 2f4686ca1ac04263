// What was counted, as it goes on: rates between two looks, kept for some minutes.

const KEPT_SECONDS = 600;

/** Return what counts for a data type: its policy, or else its one model; null when there is none. */
export function whole(state) {
  if (state.policy) return { ...state.policy, isPolicy: true, node: state.node };
  return "version" in state ? state : null;
}

export class History {
  #before = null;
  #at = 0;
  #points = new Map();

  /** Note a look at the data types, made at a moment in milliseconds, and their latencies then. */
  add(at, dataTypes, latencies) {
    for (const [name, { state }] of Object.entries(dataTypes)) {
      const points = this.of(name);
      points.push({ ...this.#point(at, state, this.#before?.[name]?.state), ...latencies[name] });
      while (points[0].at < at / 1000 - KEPT_SECONDS) points.shift();
    }
    this.#before = dataTypes;
    this.#at = at;
  }

  /** Return a data type's points, the oldest first. */
  of(name) {
    if (!this.#points.has(name)) this.#points.set(name, []);
    return this.#points.get(name);
  }

  last(name) {
    return this.of(name).at(-1) ?? {};
  }

  #point(at, state, before) {
    const model = whole(state);
    const point = { at: at / 1000, records: null, errors: null, p50: null, p90: null, p99: null };
    if (!model) return point;
    point.version = model.version;
    const old = before && whole(before);
    const seconds = (at - this.#at) / 1000;
    if (!old || seconds <= 0) return point;
    return Object.assign(point, rates(model, old, seconds));
  }
}

/** Return the rates over those replicas that told their counts both times. */
function rates(model, old, seconds) {
  const before = counts(old);
  const gains = Object.entries(counts(model))
    .filter(([node]) => node in before)
    .map(([node, now]) => gain(before[node], now));
  if (!gains.length) return {};
  const sum = (index) => gains.reduce((total, each) => total + each[index], 0) / seconds;
  return { records: sum(0), errors: sum(1) };
}

function counts(model) {
  const replicas = Object.entries(model.replicas ?? { [model.node]: model });
  return Object.fromEntries(
    replicas.filter(([, each]) => "usage" in each && !("unreachableSince" in each)),
  );
}

/** Another version, and one that has come back, count from zero. */
function gain(old, now) {
  const anew = old.version !== now.version || now.usage < old.usage || now.errors < old.errors;
  return anew ? [now.usage, now.errors] : [now.usage - old.usage, now.errors - old.errors];
}
