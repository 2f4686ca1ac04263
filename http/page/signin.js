// The form that asks for a token, where the node wants one, instead of the page.

import { call } from "./call.js";
import { byId, say } from "./dom.js";
import { hasToken, on, person, use, welcome } from "./session.js";

const AGAIN_MS = 1000;

/** Find out who we are; `lost(why)` is called while the node cannot tell. */
export async function signIn(lost) {
  on("welcome", greet);
  on("refused", ({ detail }) => ask(detail));
  byId("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    enter(event.target.elements.namedItem("token"), lost);
  });
  byId("sign-out").addEventListener("click", () => {
    use(null);
    ask("signed out");
  });
  await introduce(lost);
}

async function introduce(lost) {
  for (;;) {
    const { status, body } = await call("GET", "/page/me");
    if (status === 200) return welcome(body);
    if (status === 401) return; // which `call` has told of
    lost(body.error);
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

async function enter(field, lost) {
  const token = field.value.trim();
  if (!/^[\x21-\x7e]+$/.test(token)) return ask("a token has no spaces, and no letters but those of English");
  field.value = "";
  use(token);
  await introduce(lost);
}

function greet() {
  byId("sign-in").hidden = true;
  document.body.classList.remove("signed-out");
  const { who } = person();
  say(byId("who"), who === "anonymous" ? "" : who);
  byId("sign-out").hidden = !hasToken();
}

function ask(why) {
  const first = byId("sign-in").hidden;
  byId("sign-in").hidden = false;
  document.body.classList.add("signed-out");
  say(byId("who"), "");
  byId("sign-out").hidden = true;
  say(byId("connection"), "signed out");
  byId("connection").className = "";
  // What follows is for programs.
  say(byId("sign-in-why"), why.split(": send ")[0]);
  if (first) byId("sign-in").elements.namedItem("token").focus();
}
