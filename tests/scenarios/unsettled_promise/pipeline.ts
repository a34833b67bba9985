export const pipeline = async () => {
  await new Promise(() => {});
};
