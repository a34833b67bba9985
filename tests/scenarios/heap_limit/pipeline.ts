// args: --js-heap 32MiB
export const pipeline = async () => {
  const kept: number[][] = [];
  while (true) kept.push(new Array(1000).fill(kept.length));
};
