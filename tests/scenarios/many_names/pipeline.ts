const names = ["a/b", "with space", "🚀 launch", "..", "../../up", ".", "-rf", "x".repeat(300), "line\nbreak", "a:b*c?"];

export const pipeline = async () => {
  for (const name of names) {
    const { stdout } = await runtime.run({ name, image: "busybox", command: { path: "sh", args: ["-c", "ls -A | wc -l; touch left-over"] } });
    assert.equal(stdout.trim(), "0");
    const volume = await runtime.createVolume({ name: name.replaceAll(/[./\n]/g, "_") });
    await runtime.run({ name, image: "busybox", command: { path: "touch", args: ["volume/file"] }, mounts: { volume } });
  }
};
