// `GET /events`, read anew whenever it ends, while the page is to be seen: browsers have few
// connections to a server, and pages that nobody looks at, or that were left, keep theirs.

import { admitted, headers, on, refused } from "./session.js";

const AGAIN_MS = 1000;
// The node says something each second; when it has been silent for this long it is asked anew.
const SILENT_MS = 6000;

/** Call `heard(event, data)` with each event, and `lost(why)` whenever there is no connection. */
export async function listen(heard, lost) {
  for (;;) {
    await seen();
    await admitted();
    try {
      await once(heard);
      lost("the node ended the connection");
    } catch (error) {
      if (error.message) lost(error.message);
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

/** Wait until somebody looks at the page. */
function seen() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
  });
}

async function once(heard) {
  const stop = new AbortController();
  const left = () => stop.abort(new Error(""));
  addEventListener("pagehide", left);
  document.addEventListener("visibilitychange", left);
  on("refused", left, { signal: stop.signal });
  let timer;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(new Error("the node has fallen silent")), SILENT_MS);
  };
  alive();
  try {
    const sent = headers();
    const reply = await fetch("/events", { headers: sent, signal: stop.signal, cache: "no-store" });
    if (!reply.ok) {
      const { error } = await reply.json();
      if (reply.status !== 401) throw new Error(error);
      refused(sent, error); // which says it
      throw new Error("");
    }
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive();
      const messages = (rest + value).split("\n\n");
      rest = messages.pop();
      for (const message of messages) tell(message, heard);
    }
  } finally {
    clearTimeout(timer);
    removeEventListener("pagehide", left);
    document.removeEventListener("visibilitychange", left);
    stop.abort();
  }
}

function tell(message, heard) {
  const found = /^event: (.*)\ndata: (.*)$/.exec(message);
  if (found) heard(found[1], JSON.parse(found[2]));
}
