import assert from "node:assert/strict";
import { test } from "node:test";

import { Router } from "../index.js";

test("parameters come from the path", () => {
  const router = new Router().get("/notes/:id", ({ params }) => params.id);
  assert.equal(router.handle({ method: "GET", path: "/notes/a%20b" }), "a b");
});

test("middleware runs around the handler, in order", async () => {
  const calls = [];
  const step = (name) => async (_, next) => {
    calls.push(name);
    await next();
    calls.push(`after ${name}`);
  };
  const router = new Router()
    .use(step("first"))
    .use(step("second"))
    .get("/", () => calls.push("handler"));
  await router.handle({ method: "GET", path: "/" });
  assert.deepEqual(calls, ["first", "second", "handler", "after second", "after first"]);
});

test("a path and a method without a handler are errors", () => {
  const router = new Router().get("/notes", () => {});
  assert.throws(() => router.handle({ method: "GET", path: "/" }), { status: 404 });
  assert.throws(() => router.handle({ method: "POST", path: "/notes" }), { status: 405 });
});
