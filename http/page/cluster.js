// The nodes, and which of them own and serve each data type.

import { byId, rows, say } from "./dom.js";
import { NOTHING, moment } from "./texts.js";

export function showCluster({ node, members, shards }) {
  say(byId("node"), `node ${node}`);
  rows(
    byId("nodes"),
    members.map((each) => [
      each.node,
      each.state,
      each.roles.join(", ") || NOTHING,
      moment(each.since),
      each.software || NOTHING,
      each.reason || NOTHING,
    ]),
  );
  rows(
    byId("shards"),
    Object.entries(shards).map(([name, { owners, ready, out }]) => [
      name,
      owners.join(", ") || NOTHING,
      Object.keys(ready).join(", ") || NOTHING,
      Object.entries(out).map(([each, why]) => `${each}: ${why}`).join("; ") || NOTHING,
    ]),
  );
}
