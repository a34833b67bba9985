export const pipeline = async () => {
  throw new Error("top", { cause: { code: 7, why: "disk" } });
};
