// Two tasks share files through a volume.
//
//     ci run examples/volumes.ts

export const pipeline: Pipeline = async () => {
  const shared = await runtime.createVolume({ name: "shared" });

  await runtime.run({
    name: "write",
    image: "busybox",
    command: ["sh", "-c", "echo 'from the first task' > shared/message.txt"],
    mounts: { shared },
  });

  // Every task has its own working directory, so the second one may mount it elsewhere.
  const read = await runtime.run({
    name: "read",
    image: "busybox",
    command: ["cat", "inbox/today/message.txt"],
    mounts: [{ name: shared.name, path: "inbox/today" }],
  });
  assert.equal(read.stdout, "from the first task\n");
};
