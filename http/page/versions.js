// The versions of a data type, the newest first, each with what became of it and why.

import { call, pathOf } from "./call.js";
import { byId, element, keyed, say } from "./dom.js";
import { moment } from "./texts.js";

// A version may come, and be rejected, without a trace on stage.
const EVERY_MS = 5000;
const SHOWN_FIRST = 8;

export class Versions {
  #dataType = null;
  #found = [];
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
    this.#found = [];
    this.#all = false;
    say(byId("versions-result"), "");
    this.#draw();
    await this.refresh();
  }

  /** Ask for them anew; an answer that is late for another question is not shown. */
  async refresh() {
    if (this.#dataType === null) return;
    const number = ++this.#asked;
    const { status, body } = await call("GET", pathOf("models", this.#dataType, "versions"));
    if (number !== this.#asked) return;
    if (status !== 200) return say(byId("versions-result"), body.error);
    this.#found = body.versions;
    this.#draw();
  }

  #draw() {
    const shown = this.#all ? this.#found : this.#found.slice(0, SHOWN_FIRST);
    keyed(byId("versions"), shown, {
      key: ({ version }) => version,
      make: (each) => this.#made(each),
      update: (item, each) => this.#update(item, each),
    });
    const more = byId("versions-all");
    more.hidden = shown.length === this.#found.length;
    say(more, `Show all ${this.#found.length}`);
  }

  #made({ version, name, modelType, description, published }) {
    const about = [modelType, `published ${moment(published)}`, description].filter(Boolean).join(" · ");
    return element(
      "li",
      {},
      element("p", {}, element("strong", {}, `${version} ${name}`), " ", element("span", { class: "state" })),
      element("p", { class: "muted" }, about),
      element("p", { class: "reason" }),
      element("details", {}, element("summary", {}, `What became of version ${version}`), element("ul")),
      element("button", { type: "button", click: () => this.#rollBack(version, name) }, `Roll back to version ${version}`),
    );
  }

  #update(item, { state, reason, history }) {
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
    const served = history.some((each) => each.state === "SERVING");
    item.querySelector("button").hidden = state === "SERVING" || !served;
  }

  async #rollBack(version, name) {
    const dataType = this.#dataType;
    const question = `Have version ${version} (${name}) serve ${dataType} again?`;
    if (!(await confirmed(question, `Roll back to version ${version}`))) return;
    const result = byId("versions-result");
    say(result, `rolling back to version ${version} …`);
    const { status, body } = await call("POST", pathOf("models", dataType, "rollback"), { version });
    const done = status === 200 || status === 202;
    result.className = done ? "good" : "bad";
    say(result, done ? `version ${version} (${name}): ${body.state}` : body.error);
    await this.refresh();
  }
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
