export const pipeline = async () => {
  const result = await runtime.run({
    name: "talk",
    image: "busybox",
    command: { path: "sh", args: ["-c", "seq 3; exec sleep 1000"] },
    timeout: "1m",
    onOutput: () => new Promise(() => {}),
  });
  console.log(result.code);
};
