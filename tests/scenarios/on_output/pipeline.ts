export const pipeline = async () => {
  const seen: string[] = [];
  const result = await runtime.run({
    name: "talk",
    image: "busybox",
    command: { path: "sh", args: ["-c", "printf 'h\\303'; printf '\\251llo\\n'"] },
    onOutput: (stream, data) => { seen.push(`${stream}:${data}`); },
  });
  // A task of its own: what comes first of two streams is not promised.
  await runtime.run({
    name: "complain",
    image: "busybox",
    command: { path: "sh", args: ["-c", "echo bad >&2"] },
    onOutput: (stream, data) => { seen.push(`${stream}:${data}`); },
  });
  assert.equal(seen.filter((line) => line.startsWith("stdout:")).map((line) => line.slice(7)).join(""), result.stdout);
  assert.equal(result.stdout, "héllo\n");
  assert.containsElement(seen, "stderr:bad\n");

  try {
    await runtime.run({
      name: "stopped",
      image: "busybox",
      command: { path: "sh", args: ["-c", "echo first; exec sleep 1000"] },
      onOutput: () => { throw new Error("seen enough"); },
    });
  } catch (error) {
    console.log((error as Error).message);
  }
};
