// What comes first of two streams that were written at the same time is not promised.
export const pipeline = async () => {
  for (const script of ["echo out; exit 3", "echo err >&2; exit 4"]) {
    const result = await runtime.run({
      name: "build",
      image: "busybox",
      command: { path: "sh", args: ["-c", script] },
    });
    console.log([result.code, result.status, result.stdout, result.stderr, result.truncated]);
  }
};
