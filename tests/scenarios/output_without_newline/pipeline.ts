export const pipeline = async () => {
  await runtime.run({ name: "a", image: "busybox", command: { path: "printf", args: ["no newline"] } });
  await runtime.run({ name: "b", image: "busybox", command: { path: "printf", args: ["bad \\377 byte, nul \\000.\\n"] } });
  await runtime.run({ name: "c", image: "busybox", command: { path: "printf", args: ["10%%\\r50%%\\r100%%\\n"] } });
};
