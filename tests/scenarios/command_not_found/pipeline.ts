export const pipeline = async () => {
  await runtime.run({ name: "typo", image: "busybox", command: { path: "ehco", args: ["hello"] } });
};
