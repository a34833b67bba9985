export const pipeline = async () => {
  const volume = await runtime.createVolume({ name: "cache" });
  for (const path of ["../up", "a/../../up", "/root/.cache"]) {
    try {
      await runtime.run({ name: "t", image: "busybox", command: { path: "true" }, mounts: [{ name: volume.name, path }] });
      console.log("accepted", path);
    } catch (error) {
      console.log((error as Error).message);
    }
  }
};
