export const pipeline = async () => {
  throw { code: 42, why: "because" };
};
