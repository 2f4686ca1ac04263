// Calls to the node that served this page.

import { headers, refused } from "./session.js";

/** Return what it answered: `{status, body}`; when it cannot be reached, status 0 and an error. */
export async function call(method, path, body) {
  const sent = headers();
  const options = { method, headers: { ...sent } };
  if (body instanceof FormData) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  try {
    const reply = await fetch(path, options);
    const said = { status: reply.status, body: await reply.json() };
    if (said.status === 401) refused(sent, said.body.error);
    return said;
  } catch (error) {
    return { status: 0, body: { error: `the node did not answer: ${error.message}` } };
  }
}

export const pathOf = (...parts) => `/${parts.map(encodeURIComponent).join("/")}`;
