export const pipeline = async () => {
  const result = await runtime.run({
    name: "slow",
    image: "busybox",
    command: { path: "sh", args: ["-c", "echo before; exec sleep 1000"] },
    timeout: "300ms",
  });
  console.log(result.code, result.status, JSON.stringify(result.stdout), result.message);
};
