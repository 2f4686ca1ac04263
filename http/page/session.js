// Who is signed in: a token that was typed here is kept for this tab alone, until it is closed.

const KEY = "repertory-token";
const changes = new EventTarget();

let token = sessionStorage.getItem(KEY);
let me = null;

/** What each request says. By the first, no browser asks for a password of its own accord. */
export function headers() {
  const said = { "X-Requested-With": "XMLHttpRequest" };
  return token === null ? said : { ...said, Authorization: `Bearer ${token}` };
}

/** Sign in with a token, or with what the browser has, such as a certificate; null: sign out. */
export function use(found) {
  token = found;
  me = null;
  if (found === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, found);
}

/** Note who the node says that we are: `{who, roles, dataTypes}`. */
export function welcome(found) {
  me = found;
  changes.dispatchEvent(new Event("welcome"));
}

/** Note that the node does not let us in, unless it said so of what we have not any more. */
export function refused(sent, why) {
  if ((sent.Authorization ?? null) !== (headers().Authorization ?? null)) return;
  me = null;
  changes.dispatchEvent(new CustomEvent("refused", { detail: why }));
}

export const on = (event, heard, options) => changes.addEventListener(event, heard, options);
export const person = () => me;
export const hasToken = () => token !== null;

/** Wait until somebody is let in. */
export function admitted() {
  if (me) return Promise.resolve();
  return new Promise((resolve) => changes.addEventListener("welcome", resolve, { once: true }));
}

/** Return why something may not be done; empty when it may. */
export function forbidden(role, dataType) {
  if (!me) return "nobody is signed in";
  const { who, roles, dataTypes } = me;
  if (!roles.includes(role) && !roles.includes("admin")) {
    return `this needs the role ${role}; ${who} has ${roles.join(", ") || "none"}`;
  }
  if (dataTypes && !dataTypes.includes(dataType)) {
    return `this needs a role for ${dataType}; ${who} has one for ${dataTypes.join(", ")}`;
  }
  return "";
}
