export const pipeline = async () => {
  const x = ;
};
