// Reading what a task wrote is not looking at how it ended, and neither is printing the result.
const sh = (name: string, script: string): RunOptions => ({
  name,
  image: "busybox",
  command: { path: "sh", args: ["-c", script] },
});

export const pipeline = async () => {
  const build = await runtime.run(sh("build", "echo out; exit 3"));
  console.log(build.stdout.trim(), Object.keys(build).length, "code" in build);

  const killed = await runtime.run(sh("killed", "kill -KILL $$"));
  console.log(`${typeof killed}`);

  await runtime.run({ ...sh("late", "exec sleep 1000"), timeout: 1 });

  const { stdout } = await runtime.run(sh("destructured", "exit 4"));
  assert.equal(stdout, "");

  await using sandbox = await runtime.startSandbox({ name: "box", image: "busybox" });
  await sandbox.exec({ name: "in the box", command: { path: "false" } });

  // Nobody waits for this one.
  void runtime.run(sh("dropped", "exit 5"));
};
