export const pipeline = async () => {
  void runtime.run({ name: "forgotten", image: "busybox", command: { path: "sh", args: ["-c", "sleep 0.2; echo done"] } })
    .then((result) => assert.equal(result.code, 1, "checked after the pipeline returned"));
};
