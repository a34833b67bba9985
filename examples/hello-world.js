// The same in JavaScript.
//
//     ci run examples/hello-world.js

const pipeline = async () => {
  const result = await runtime.run({
    name: "hello",
    image: "busybox",
    command: ["echo", "Hello, World!"],
  });
  assert.equal(result.code, 0);
  assert.containsString(result.stdout, "Hello");
};

export { pipeline };
