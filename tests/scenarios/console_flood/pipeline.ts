export const pipeline = async () => {
  for (let i = 0; i < 200; i++) console.log(i);
};
