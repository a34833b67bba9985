export const pipeline = async () => {
  const result = await runtime.run({
    name: "build",
    image: "busybox",
    command: { path: "sh", args: ["-c", "echo out; echo err >&2; exit 3"] },
  });
  console.log([result.code, result.status, result.stdout, result.stderr, result.truncated]);
};
