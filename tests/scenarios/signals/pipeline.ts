export const pipeline = async () => {
  const result = await runtime.run({ name: "killed", image: "busybox", command: { path: "sh", args: ["-c", "kill -KILL $$"] } });
  console.log(result.code, result.status, result.message);
  const other = await runtime.run({ name: "real-time", image: "busybox", command: { path: "sh", args: ["-c", "kill -40 $$"] } });
  console.log(other.code, other.status, other.message);
};
