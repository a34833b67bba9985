import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { createApp } from "../src/app.js";

const app = createApp({ version: "1.2.3" });
let url;

before(async () => {
  await new Promise((resolve) => app.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${app.address().port}`;
});

after(() => {
  app.close();
  app.closeAllConnections();
});

async function request(method, path, body) {
  const response = await fetch(url + path, { method, body });
  const text = await response.text();
  return { status: response.status, body: text && JSON.parse(text) };
}

test("the service tells its version", async () => {
  assert.deepEqual(await request("GET", "/health"), {
    status: 200,
    body: { status: "ok", version: "1.2.3" },
  });
});

test("a note is kept until it is deleted", async () => {
  const note = { id: "1", text: "milk" };
  const created = await request("POST", "/notes", JSON.stringify({ text: "milk" }));
  assert.deepEqual(created, { status: 201, body: note });
  assert.deepEqual((await request("GET", "/notes")).body, [note]);
  assert.deepEqual((await request("GET", "/notes/1")).body, note);
  assert.equal((await request("DELETE", "/notes/1")).status, 204);
  assert.deepEqual((await request("GET", "/notes")).body, []);
});

test("mistakes of a client are told as JSON", async () => {
  const cases = [
    ["POST", "/notes", "{", 400, "the body is not JSON"],
    ["GET", "/notes/7", undefined, 404, "there is no note 7"],
    ["GET", "/nowhere", undefined, 404, "nothing is at /nowhere"],
    ["DELETE", "/notes", undefined, 405, "DELETE is not for /notes"],
    ["POST", "/notes", JSON.stringify({ text: "a".repeat(70_000) }), 413, "a request has at most 65536 bytes"],
    ["POST", "/notes", "{}", 422, "a note has a text"],
  ];
  for (const [method, path, body, status, error] of cases) {
    assert.deepEqual(await request(method, path, body), { status, body: { error } });
  }
});
