import { HttpError } from "@example/router";

const LIMIT = 64 * 1024;

/** Answers with what went wrong. Only an `HttpError` is shown to the client. */
export async function errors(_, next) {
  try {
    return await next();
  } catch (error) {
    if (error instanceof HttpError) return { status: error.status, body: { error: error.message } };
    process.stderr.write(`${error.stack}\n`);
    return { status: 500, body: { error: "internal error" } };
  }
}

/** Reads the request's body as JSON. */
export async function json(context, next) {
  const chunks = [];
  let length = 0;
  for await (const chunk of context.request) {
    length += chunk.length;
    if (length > LIMIT) throw new HttpError(413, `a request has at most ${LIMIT} bytes`);
    chunks.push(chunk);
  }
  if (length > 0) {
    try {
      context.body = JSON.parse(Buffer.concat(chunks).toString());
    } catch {
      throw new HttpError(400, "the body is not JSON");
    }
  }
  return next();
}
