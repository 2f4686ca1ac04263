// A model from a file: what became of it, and why.

import { call } from "./call.js";
import { byId, element, keyed, say } from "./dom.js";

export class Upload {
  #done;

  /** `done` is called when there is an outcome. */
  constructor(done) {
    this.#done = done;
    byId("upload").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(event.target);
    });
  }

  offer(dataTypes) {
    keyed(byId("upload-type"), dataTypes, {
      key: (name) => name,
      make: (name) => element("option", { value: name }, name),
      update: () => {},
    });
  }

  choose(dataType) {
    byId("upload-type").value = dataType;
  }

  async #send(form) {
    const button = form.querySelector("button");
    const body = new FormData(form);
    for (const name of ["description", "modelType"]) if (!body.get(name)) body.delete(name);
    if (!body.get("signature").size) body.delete("signature");
    tell("", `${body.get("name")} is sent and checked …`);
    button.disabled = true;
    const reply = await call("POST", "/models", body);
    button.disabled = false;
    tell(...outcome(reply));
    this.#done();
  }
}

function outcome({ status, body }) {
  const of = `${body.name}, version ${body.version}`;
  if (status === 201) return ["good", `${of}: ${body.state}`];
  if (status === 202) return ["", `${of}: ${body.state}; the versions below tell the rest`];
  if (body.state === "REJECTED") return ["bad", `${body.version ? of : "the model"} was rejected: ${body.reason}`];
  return ["bad", body.error];
}

function tell(kind, text) {
  byId("upload-result").className = kind;
  say(byId("upload-result"), text);
}
