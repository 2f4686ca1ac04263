// Calls to the node that served this page.

/** Return what it answered: `{status, body}`; when it cannot be reached, status 0 and an error. */
export async function call(method, path, body) {
  const options = { method };
  if (body instanceof FormData) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  try {
    const reply = await fetch(path, options);
    return { status: reply.status, body: await reply.json() };
  } catch (error) {
    return { status: 0, body: { error: `the node did not answer: ${error.message}` } };
  }
}

export const pathOf = (...parts) => `/${parts.map(encodeURIComponent).join("/")}`;
