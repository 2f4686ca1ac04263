// The page: hears of what there is, keeps what was, and shows the data type that is chosen.

import { showCluster } from "./cluster.js";
import { byId, rows, say } from "./dom.js";
import { listen } from "./events.js";
import { signIn } from "./signin.js";
import { on } from "./session.js";
import { showRights } from "./rights.js";
import { History, whole } from "./history.js";
import { Stage } from "./stage.js";
import { NOTHING, milliseconds, modelName, rate } from "./texts.js";
import { Trial } from "./trial.js";
import { Upload } from "./upload.js";
import { Versions } from "./versions.js";

const linkTo = (name) => `#/${encodeURIComponent(name)}`;

class Page {
  #history = new History();
  #stage = new Stage();
  #versions = new Versions();
  #trial = new Trial();
  #upload = new Upload(() => this.#versions.refresh());
  #look = null;
  #chosen = null;
  #onStage = new Map();

  heard(event, data) {
    if (event === "trouble") return this.lost(data.error);
    connection("good", "live");
    if (event === "look") {
      this.#look = data;
      this.#changed();
    } else if (this.#look) {
      this.#history.add(data.at, this.#look.dataTypes, data.latencies);
    }
    if (this.#look) this.#figures();
  }

  lost(why) {
    connection("bad", `not live: ${why}`);
  }

  /** Show the data type that the address names, or else the first. */
  choose() {
    if (!this.#look) return;
    const names = Object.keys(this.#look.dataTypes);
    const wanted = decodeURIComponent(location.hash.slice(2));
    const name = names.includes(wanted) ? wanted : names[0];
    if (name === undefined || name === this.#chosen) return;
    this.#chosen = name;
    this.#trial.show(name, this.#look.dataTypes[name].features);
    this.#upload.choose(name);
    this.#versions.show(name);
    showRights(name);
    this.#figures();
  }

  /** Offer what the one who is signed in now may do. */
  welcome() {
    if (this.#chosen === null) return;
    showRights(this.#chosen);
    this.#versions.refresh();
  }

  #changed() {
    showCluster(this.#look.cluster);
    this.#upload.offer(Object.keys(this.#look.dataTypes));
    this.choose();
    for (const [name, { state }] of Object.entries(this.#look.dataTypes)) this.#notice(name, state);
  }

  /** Say so when another version has come on stage. */
  #notice(name, state) {
    const model = whole(state);
    const now = model ? `${modelName(model)}, version ${model.version}` : "nothing";
    const before = this.#onStage.get(name);
    this.#onStage.set(name, now);
    if (before === undefined || before === now) return;
    say(byId("news"), `On stage for ${name}: ${now}`);
    if (name === this.#chosen) this.#versions.refresh();
  }

  #figures() {
    const { dataTypes } = this.#look;
    rows(
      byId("overview"),
      Object.entries(dataTypes).map(([name, { state }]) => this.#overview(name, whole(state))),
      { link: linkTo },
    );
    for (const link of byId("overview").querySelectorAll("a")) {
      if (link.textContent === this.#chosen) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    if (this.#chosen !== null) {
      const { state } = dataTypes[this.#chosen];
      const publisher = this.#versions.publisher(state.version);
      this.#stage.show(this.#chosen, state, this.#history.of(this.#chosen), publisher);
    }
  }

  #overview(name, model) {
    const { records, errors, p50, p99 } = this.#history.last(name);
    return [
      name,
      model ? modelName(model) : NOTHING,
      String(model?.version ?? NOTHING),
      rate(records),
      rate(errors),
      milliseconds(p50),
      milliseconds(p99),
    ];
  }
}

function connection(kind, text) {
  byId("connection").className = kind;
  say(byId("connection"), text);
}

const page = new Page();
addEventListener("hashchange", () => page.choose());
on("welcome", () => page.welcome());
signIn((why) => page.lost(why));
listen(
  (event, data) => page.heard(event, data),
  (why) => page.lost(why),
);
