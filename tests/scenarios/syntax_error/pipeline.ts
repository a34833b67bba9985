export const pipeline = async () => {
  const result = await runtime.run({ name: "x" image: "y" });
};
