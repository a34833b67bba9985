export const pipeline = async () => {
  for (let i = 0; i < 11; i++) {
    await runtime.run({ name: `t${i}`, image: "busybox", command: { path: "false" } });
  }
};
