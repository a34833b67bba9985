// The smallest pipeline: one task, and a look at what it printed.
//
//     ci run examples/hello-world.ts

export const pipeline: Pipeline = async () => {
  const result = await runtime.run({
    name: "hello",
    image: "busybox",
    command: ["echo", "Hello, World!"],
  });
  assert.equal(result.code, 0);
  assert.containsString(result.stdout, "Hello");
};
