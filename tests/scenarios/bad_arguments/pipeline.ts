const base = { name: "t", image: "busybox", command: { path: "true" } };

const wrong: unknown[] = [
  undefined,
  {},
  { ...base, imgae: "busybox" },
  { ...base, command: "true" },
  { ...base, command: { path: "true", args: ["a", 1] } },
  { ...base, mounts: [{ name: "cache", path: 5 }] },
  { ...base, mounts: { "../out": { name: "cache", path: "" } } },
  { ...base, mounts: { "": { name: "cache", path: "" } } },
  { ...base, timeout: "soon" },
  { ...base, timeout: -1 },
  { ...base, env: { COUNT: 1 } },
  { ...base, containerLimits: { memory: "lots" } },
  { ...base, privileged: "yes" },
];

export const pipeline = async () => {
  for (const options of wrong) {
    try {
      await runtime.run(options as RunOptions);
      console.log("accepted:", options);
    } catch (error) {
      console.log((error as Error).message);
    }
  }
  for (const options of [{ name: "" }, { name: "../up" }, { name: "x".repeat(513) }, { size: "big" }, { nmae: "x" }]) {
    try {
      await runtime.createVolume(options as VolumeOptions);
      console.log("accepted:", options);
    } catch (error) {
      console.log((error as Error).message);
    }
  }
};
