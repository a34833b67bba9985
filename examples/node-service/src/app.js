import { createServer } from "node:http";

import { HttpError, Router } from "@example/router";

import { errors, json } from "./middleware.js";

/** The service: notes, kept in memory. */
export function createApp({ version }) {
  const notes = new Map();
  let last = 0;

  const find = (id) => {
    const note = notes.get(id);
    if (!note) throw new HttpError(404, `there is no note ${id}`);
    return note;
  };

  const router = new Router()
    .use(errors)
    .use(json)
    .get("/health", () => ({ status: 200, body: { status: "ok", version } }))
    .get("/notes", () => ({ status: 200, body: [...notes.values()] }))
    .post("/notes", ({ body }) => {
      if (typeof body?.text !== "string") throw new HttpError(422, "a note has a text");
      const note = { id: String(++last), text: body.text };
      notes.set(note.id, note);
      return { status: 201, body: note };
    })
    .get("/notes/:id", ({ params }) => ({ status: 200, body: find(params.id) }))
    .delete("/notes/:id", ({ params }) => {
      notes.delete(find(params.id).id);
      return { status: 204 };
    });

  return createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const { status, body } = await router.handle({ request, method: request.method, path: pathname });
    if (body === undefined) return response.writeHead(status).end();
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
}
