// The timeline of a data type: the versions of its models and policies, the newest first, each with
// what became of it and why, and what can be done with it.

import { modelActions, policyActions } from "./actions.js";
import { call, pathOf } from "./call.js";
import { byId, element, keyed, say } from "./dom.js";
import { admitted, forbidden } from "./session.js";
import { NOTHING, moment } from "./texts.js";

// A version may come, and be rejected, without a trace on stage.
const EVERY_MS = 5000;
const SHOWN_FIRST = 8;

export class Versions {
  #dataType = null;
  #models = [];
  #policies = [];
  #all = false;
  #asked = 0;

  constructor() {
    byId("versions-all").addEventListener("click", () => {
      this.#all = true;
      this.#draw();
    });
    setInterval(() => document.hidden || this.refresh(), EVERY_MS);
  }

  async show(dataType) {
    this.#dataType = dataType;
    this.#models = this.#policies = [];
    this.#all = false;
    result("", "");
    this.#draw();
    await this.refresh();
  }

  /** Return who published a version, as far as that is known. */
  publisher(version) {
    return published(this.#models.find((each) => each.version === version) ?? {});
  }

  /** Ask for them anew; an answer that is late for another question is not shown. */
  async refresh() {
    await admitted();
    if (this.#dataType === null) return;
    const number = ++this.#asked;
    const paths = ["models", "policies"].map((each) => pathOf(each, this.#dataType, "versions"));
    const [models, policies] = await Promise.all(paths.map((path) => call("GET", path)));
    if (number !== this.#asked) return;
    const failed = [models, policies].find(({ status }) => status !== 200);
    if (failed) return result("bad", failed.body.error);
    this.#models = models.body.versions;
    this.#policies = policies.body.policies;
    this.#draw();
  }

  #draw() {
    const inForce = this.#policies.find(({ state }) => state === "IN_FORCE")?.settings ?? null;
    const models = this.#models.map((each) => ({ ...each, actions: modelActions(each, this.#dataType, inForce) }));
    const policies = this.#policies.map((each) => asEvent(each, this.#dataType));
    const found = [...models, ...policies].sort((one, other) => other.version - one.version);
    const shown = this.#all ? found : found.slice(0, SHOWN_FIRST);
    keyed(byId("versions"), shown, {
      key: ({ version }) => version,
      make: (each) => made(each),
      update: (item, each) => this.#update(item, each),
    });
    const more = byId("versions-all");
    more.hidden = shown.length === found.length;
    say(more, `Show all ${found.length}`);
  }

  #update(item, { state, reason, history, actions }) {
    const label = item.querySelector(".state");
    say(label, state);
    item.dataset.state = state;
    say(item.querySelector(".reason"), reason ?? "");
    keyed(item.querySelector("ul"), history, {
      key: ({ state: each, at }) => `${each} ${at}`,
      make: () => element("li"),
      update: (line, each) =>
        say(line, `${moment(each.at)} ${each.state}${each.reason ? `: ${each.reason}` : ""}`),
    });
    const isForbidden = Boolean(forbidden("publish", this.#dataType));
    keyed(item.querySelector(".actions"), actions, {
      key: ({ label: each }) => each,
      make: ({ label: each }) => element("button", { type: "button" }, each),
      update: (button, action) => {
        button.disabled = isForbidden;
        button.onclick = () => this.#act(action);
      },
    });
  }

  async #act({ label, question, method, path, body }) {
    if (!(await confirmed(question, label))) return;
    result("", `${label} …`);
    const { status, body: said } = await call(method, path, body);
    const done = status === 200 || status === 202;
    result(done ? "good" : "bad", done ? outcome(said) : said.error);
    await this.refresh();
  }
}

function published({ publishedBy, origin, signedBy }) {
  const place = origin?.startsWith("http/") ? "somebody without a token, over HTTP" : origin;
  const by = publishedBy ?? place ?? NOTHING;
  return signedBy ? `${by}, signed by ${signedBy}` : by;
}

function asEvent(policy, dataType) {
  const { version, policy: kind, settings, published: at, decided, state, reason } = policy;
  const names = [settings?.slots, settings?.shadows].map((each) => (each ?? []).join(", "));
  const about = [names[0] && `slots ${names[0]}`, names[1] && `shadows ${names[1]}`, policy.description];
  const history = [{ state: "PUBLISHED", at }, ...(decided ? [{ state, at: decided, reason }] : [])];
  const name = kind ? `policy ${kind}` : "no policy any more";
  const description = about.filter(Boolean).join(" · ");
  return { version, name, description, published: at, state, reason, history, actions: policyActions(policy, dataType) };
}

function made(each) {
  const { version, name, modelType, description, published: at } = each;
  const by = modelType ? published(each) : NOTHING;
  const moments = `published ${moment(at)}${by === NOTHING ? "" : ` by ${by}`}`;
  const about = [modelType, moments, description].filter(Boolean).join(" · ");
  return element(
    "li",
    {},
    element("p", {}, element("strong", {}, `${version} ${name}`), " ", element("span", { class: "state" })),
    element("p", { class: "muted" }, about),
    element("p", { class: "reason" }),
    element("details", {}, element("summary", {}, `What became of version ${version}`), element("ul")),
    element("p", { class: "actions" }),
  );
}

const outcome = ({ name, policy, version, state }) =>
  `${[name ?? (policy ? `policy ${policy}` : "the data type"), version && `version ${version}`].filter(Boolean).join(", ")}: ${state}`;

function result(kind, text) {
  byId("versions-result").className = kind;
  say(byId("versions-result"), text);
}

function confirmed(question, yes) {
  const dialog = byId("confirm");
  say(byId("confirm-question"), question);
  say(byId("confirm-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
