export const pipeline = async () => {
  const volume = await runtime.createVolume({ name: "kept" });
  const sh = (name: string, script: string) =>
    runtime.run({ name, image: "busybox", command: { path: "sh", args: ["-c", script] }, mounts: { ".cache/go-build": volume } });
  await sh("write", "cd .cache/go-build && echo x > file && chmod 640 file && ln -s file link && touch -d @86400 file && ln file hard");
  const { stdout } = await sh("read", "cd .cache/go-build && stat -c '%n %a %Y %h' file && readlink link");
  assert.equal(stdout, "file 640 86400 2\nfile\n");
  const again = await runtime.createVolume({ name: "kept" });
  assert.equal(again, volume);
};
