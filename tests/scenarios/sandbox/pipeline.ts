const sh = (script: string) => ({ path: "sh", args: ["-c", script] });

async function commands(cache: Volume) {
  await using sandbox = await runtime.startSandbox({
    name: "box",
    image: "busybox",
    env: { GREETING: "hello", NAME: "nobody" },
    mounts: { cache },
  });
  console.log(sandbox.name, sandbox.id !== "", Object.isFrozen(sandbox));
  const { exec } = sandbox;

  await exec({ name: "write", command: sh("echo $GREETING $NAME > cache/file") });
  const read = await exec({ command: { path: "cat" }, stdin: "from stdin\n", env: { NAME: "you" } });
  console.log(read.code, read.status, read.message, read.truncated);
  const seen: string[] = [];
  await exec({
    name: "look",
    command: sh("echo $GREETING $NAME; cat file"),
    env: { NAME: "you" },
    workDir: "cache",
    onOutput: (_, data) => void seen.push(data),
  });
  console.log(seen.join(""));

  const failed = await exec({ name: "fail", command: sh("echo oh >&2; exit 7") });
  console.log(failed.code, failed.status, failed.stderr);
  const killed = await exec({ name: "kill", command: sh("kill -TERM $$") });
  console.log(killed.code, killed.message);
  const late = await exec({ name: "late", command: sh("exec sleep 1000"), timeout: 1 });
  console.log(late.code, late.status, late.message);

  const controller = new AbortController();
  const stopped = await exec({
    name: "stop",
    command: sh("echo ready; exec sleep 1000"),
    signal: controller.signal,
    onOutput: () => controller.abort(),
  });
  console.log(stopped.status, stopped.message);

  // What is left in the background serves the next command.
  await exec({
    name: "serve",
    command: sh("mkfifo ask answer; (while read word < ask; do echo $word back > answer; done) >log 2>&1 &"),
  });
  const [asked] = await Promise.all([exec({ name: "ask", command: sh("echo there > ask; cat answer") })]);
  console.log(asked?.stdout);
  return sandbox;
}

export const pipeline = async () => {
  const cache = await runtime.createVolume({ name: "cache" });
  const closed = await commands(cache);
  await closed.close();
  try {
    await closed.exec({ name: "after", command: sh("true") });
  } catch (error) {
    console.log((error as Error).message);
  }

  const calls: (() => Promise<unknown>)[] = [
    () => runtime.startSandbox({ name: "x", image: "y", comand: sh("true") } as SandboxOptions),
    () => closed.exec({} as ExecOptions),
    () => closed.exec({ command: sh("true"), image: "y" } as ExecOptions),
    () => closed.exec({ command: sh("true"), name: "" }),
  ];
  for (const call of calls) {
    await call().catch((error: Error) => console.log(error.name, error.message));
  }

  // Nobody closes this one.
  const left = await runtime.startSandbox({ name: "left", image: "busybox" });
  await left.exec({ command: sh("sleep 1000 >/dev/null 2>&1 &") });
};
