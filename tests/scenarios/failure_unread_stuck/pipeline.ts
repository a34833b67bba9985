export const pipeline = async () => {
  void runtime.run({
    name: "talk",
    image: "busybox",
    command: { path: "sh", args: ["-c", "echo hi; exit 1"] },
    onOutput: () => new Promise(() => {}),
  });
};
