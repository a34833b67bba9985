export const pipeline = async () => {
  await runtime.run({ name: "build", image: "busybox", command: { path: "false" } });
  throw new Error("what the pipeline says comes first");
};
