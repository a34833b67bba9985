// What must not compile. A line that compiles after all fails the test, and so does an error that
// is not announced.

const command: Command = { path: "true" };
const least: RunOptions = { name: "a", image: "b", command };
const volume: Volume = { name: "c", path: "d" };

// @ts-expect-error neither a command nor a script
runtime.run({ name: "a", image: "b" });
// @ts-expect-error a command and a script
runtime.run({ name: "a", image: "b", command, script: "true" });
// @ts-expect-error a duration without a unit
runtime.run({ name: "a", image: "b", command, timeout: "90" });
// @ts-expect-error a size with an unknown unit
runtime.createVolume({ size: "1 gig" });
// @ts-expect-error a required key is missing
runtime.run({ image: "b", command });
// @ts-expect-error a misspelt key
runtime.run({ name: "a", imgae: "b", command });
// @ts-expect-error a key that does not exist
runtime.run({ ...least, retries: 3 });
// @ts-expect-error a number where text is expected
runtime.run({ ...least, env: { PORT: 8080 } });
// @ts-expect-error a secret in a command, which every process list shows
runtime.run({ ...least, command: ["echo", runtime.secret("TOKEN")] });
// @ts-expect-error a file with a text instead of a secret
runtime.run({ ...least, secrets: { "/run/secrets/a": "text" } });
// @ts-expect-error an argument that is not text
runtime.run({ ...least, command: { path: "sleep", args: [5] } });
// @ts-expect-error a command line instead of a command
runtime.run({ ...least, command: "sleep 5" });
// @ts-expect-error a volume's name instead of a volume
runtime.run({ ...least, mounts: { node_modules: "cache" } });
// @ts-expect-error a mount without a path
runtime.run({ ...least, mounts: [{ name: "cache" }] });
// @ts-expect-error a volume where its promise was forgotten
runtime.run({ ...least, mounts: { node_modules: runtime.createVolume() } });
// @ts-expect-error a number of cores as text
runtime.run({ ...least, containerLimits: { cpu: "2" } });
// @ts-expect-error null is not the same as leaving it out
runtime.run({ ...least, timeout: null });
// @ts-expect-error an unknown stream
runtime.run({ ...least, onOutput: (stream) => stream === "stdin" });
// @ts-expect-error a callback that wants more than there is
runtime.run({ ...least, onOutput: (stream, data, more) => undefined });
// @ts-expect-error options are required
runtime.run();
// @ts-expect-error an unknown key
runtime.createVolume({ path: "cache" });

// @ts-expect-error a required key is missing
runtime.startSandbox({ image: "a" });
// @ts-expect-error a command has no place in a sandbox's options
runtime.startSandbox({ name: "a", image: "b", command });
declare const sandbox: Sandbox;
// @ts-expect-error a required key is missing
sandbox.exec({ name: "a" });
// @ts-expect-error an image is the sandbox's
sandbox.exec({ command, image: "b" });
// @ts-expect-error volumes are the sandbox's
sandbox.exec({ command, mounts: {} });
// @ts-expect-error a sandbox is closed as a whole
sandbox.close("a");
// @ts-expect-error a sandbox does not change
sandbox.id = "other";
// @ts-expect-error a promise of a sandbox is not a sandbox
runtime.startSandbox({ name: "a", image: "b" }).exec({ command });

// @ts-expect-error a promise is not a result
runtime.run(least).code;
// @ts-expect-error results do not change
runtime.run(least).then((result) => (result.code = 0));
// @ts-expect-error volumes do not change
volume.name = "other";
// @ts-expect-error the API does not change
runtime.run = async () => ({ code: 0 });
// @ts-expect-error the API does not change
runtime = undefined;
// @ts-expect-error the context does not change
pipelineContext.args.push("more");

// @ts-expect-error a code is a number
runtime.run(least).then((result) => assert.equal(result.code, "0"));
// @ts-expect-error an element of another type
assert.containsElement(["a"], 1);
// @ts-expect-error only text contains text
assert.containsString(["a"], "a");
// @ts-expect-error YAML promises nothing about its content
YAML.parse("a: 1").a;

// @ts-expect-error a pipeline takes no arguments
const wrong: Pipeline = async (name: string) => console.log(name);

// @ts-expect-error a pipeline has no process
process.exit(1);
// @ts-expect-error a pipeline has no modules of Node
require("node:fs");
// @ts-expect-error the engine's own global is not there
Deno.exit(1);

export { wrong };
