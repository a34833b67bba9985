// What has to compile. It is never run.

/// <reference path="../../../typings/ci.d.ts" />

export const pipeline: Pipeline = async () => {
  const cache = await runtime.createVolume({ name: "cache", size: "1GiB" });
  const anonymous: Volume = await runtime.createVolume();
  await runtime.createVolume({ name: undefined, size: 1024 });

  await runtime.run({ name: "least", image: "alpine", command: { path: "true" } });

  await runtime.run({ name: "short", command: ["true"] });
  await runtime.run({ name: "lines", script: "npm ci\nnpm test", user: "1000:1000" });
  const words: readonly string[] = ["echo", "text"];
  const { ok, signal, timedOut } = await runtime.run({ name: "words", command: words });
  const how: [boolean, string | null, boolean] = [ok, signal, timedOut];
  await runtime.run({
    name: how.join(),
    command: ["true"],
    mounts: { ".": { volume: cache, readOnly: true }, other: anonymous },
  });
  await runtime.run({
    name: "listed",
    command: ["true"],
    mounts: [{ name: cache.name, path: ".", readOnly: true }],
  });
  const times: Duration[] = [1, "90s", "1.5h", "1h 30m", "1d 2h 3m"];
  const sizes: Size[] = [1, "512MB", "1.5 GiB", "10B"];
  console.log(times, sizes);

  const most: RunOptions = {
    name: "most",
    image: "alpine",
    command: { path: "sh", args: ["-c", "true"], user: "1000:1000" },
    env: { CI: "true" },
    mounts: [{ name: cache.name, path: ".cache/go-build" }],
    workDir: "src",
    stdin: new Uint8Array([1, 2, 3]),
    timeout: "1h 30m",
    privileged: false,
    cleanup: true,
    allowFailure: true,
    signal: new AbortController().signal,
    containerLimits: { cpu: 0.5, memory: 512 * 1024 * 1024 },
    onOutput: async (stream, data) => {
      const name: "stdout" | "stderr" = stream;
      await Promise.resolve(name + data.toUpperCase());
    },
  };
  const { code, stdout, stderr, status, message, durationMs, truncated } = await runtime.run(most);
  const facts: [number, string, string, "complete" | "abort", string, number, boolean] = [
    code,
    stdout,
    stderr,
    status,
    message,
    durationMs,
    truncated,
  ];

  const path: string = "node_modules";
  await runtime.run({ ...most, mounts: { [path]: cache, other: anonymous }, timeout: 1_000 });
  await runtime.run({ ...most, stdin: "text", mounts: undefined, env: undefined });
  const token: Secret = runtime.secret("TOKEN");
  const secrets = { "/run/secrets/token": token };
  await runtime.run({ ...most, stdin: token, env: { A: "b", TOKEN: token }, secrets });

  await using sandbox = await runtime.startSandbox({ name: "least", image: "alpine" });
  const { id, name: called, exec, close }: Sandbox = sandbox;
  await runtime.startSandbox({
    name: "most",
    image: "alpine",
    env: { CI: "true" },
    mounts: { cache },
    workDir: "src",
    user: "1000:1000",
    privileged: true,
    containerLimits: { memory: "1GiB" },
  });
  await sandbox.exec({ command: { path: "true" } });
  const executed: RunResult = await exec({
    name: id + called,
    command: { path: "sh", args: ["-c", "true"], user: "1000" },
    env: { VERBOSE: "1" },
    workDir: "packages/server",
    stdin: "text",
    timeout: "10s",
    signal: new AbortController().signal,
    cleanup: true,
    onOutput: (stream, data) => console.log(stream, data),
  });
  await close();
  const { container, ...shared }: { container: ContainerOptions } & CommandOptions = {
    container: { image: "alpine" },
    command: { path: "true" },
  };
  await runtime.run({ name: executed.message, ...container, ...shared });

  const args = ["a", "b"] as const;
  await Promise.all(args.map((arg) => runtime.run({ ...most, command: { path: "echo", args } })));

  assert.equal(code, 0);
  assert.equal(status, "complete", "a note");
  assert.equal(YAML.parse("a: 1"), { a: 1 });
  assert.notEqual(stdout, stderr);
  assert.containsString(stdout, "done");
  assert.containsElement(stdout.split("\n"), "done");

  const match = /v(\d+)/.exec(stdout);
  assert.truthy(match);
  const group: string | undefined = match[1];

  try {
    throw new AssertionError("custom", { actual: group, expected: facts });
  } catch (error) {
    if (error instanceof AssertionError) {
      const operator: string = error.operator;
      console.error("%s", operator, error.actual, error.expected);
    }
  }

  const text: string = YAML.stringify({ steps: [1, null, "x"] });
  const { runId, pipelineId, driverName, args: given } = pipelineContext;
  const { runID, pipelineID } = pipelineContext;
  const all: string[] = [runId, pipelineId, runID, pipelineID, driverName, text, ...given];
  console.table(all);
};

export default pipeline;

/** A pipeline need not be a promise, and need not be declared as one. */
export const synchronous: Pipeline = () => {};

/** The globals that any JavaScript runtime has. */
export async function globals(): Promise<void> {
  const controller = new AbortController();
  const signal: AbortSignal = AbortSignal.any([controller.signal, AbortSignal.timeout(1_000)]);
  signal.addEventListener("abort", (event) => console.log(event.type), { once: true });
  controller.abort(new DOMException("enough", "AbortError"));

  const target = new EventTarget();
  target.dispatchEvent(new Event("plain"));
  target.dispatchEvent(new CustomEvent("rich", { detail: { percent: 50 } }));

  const url = new URL("../b?x=1", "https://example.com/a/");
  url.searchParams.append("y", "2");
  for (const [name, value] of url.searchParams) {
    console.log(name.length + value.length);
  }
  const query: string = new URLSearchParams({ q: "ci" }).toString();

  const bytes: Uint8Array<ArrayBuffer> = new TextEncoder().encode(query);
  const text: string = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  const coded: string = atob(btoa(text));

  const timer = setTimeout((word: string) => console.log(word), 10, coded);
  clearTimeout(timer);
  clearInterval(setInterval(() => undefined, 10));
  queueMicrotask(() => reportError(new Error("seen")));

  const copy: Map<string, number> = structuredClone(new Map([["a", 1]]));
  const random: Uint8Array<ArrayBuffer> = crypto.getRandomValues(new Uint8Array(4));
  const names: string[] = [crypto.randomUUID(), import.meta.url];
  names.push(import.meta.filename, import.meta.dirname, import.meta.resolve("./other.ts"));
  console.log(copy.size, random.length, names, performance.now() + performance.timeOrigin);
}
