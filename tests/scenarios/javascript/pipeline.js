export const pipeline = async () => {
  const result = await runtime.run({
    name: "hello",
    image: "busybox",
    command: { path: "echo", args: ["hello"] },
  });
  assert.equal(result.stdout, "hello\n");
};
