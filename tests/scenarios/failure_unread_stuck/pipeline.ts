export const pipeline = async () => {
  void runtime.run({
    name: "talk",
    image: "busybox",
    command: { path: "sh", args: ["-c", "echo hi; exec sleep 1000"] },
    onOutput: () => new Promise(() => {}),
  });
};
