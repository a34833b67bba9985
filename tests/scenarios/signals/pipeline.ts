export const pipeline = async () => {
  const result = await runtime.run({ name: "killed", image: "busybox", command: { path: "sh", args: ["-c", "kill -KILL $$"] } });
  console.log(result.code, result.status, result.message);
};
