// What may not be done is not offered, and said why.

import { byId, say } from "./dom.js";
import { forbidden } from "./session.js";

/** Offer what whoever is signed in may do to a data type. */
export function showRights(dataType) {
  offer("try", "score", dataType);
  offer("upload", "publish", dataType);
  explain("versions", forbidden("publish", dataType));
}

function offer(name, role, dataType) {
  const why = forbidden(role, dataType);
  byId(`${name}-allowed`).disabled = Boolean(why);
  explain(name, why);
}

function explain(name, why) {
  const place = byId(`${name}-why`);
  say(place, why);
  place.hidden = !why;
}
