// args: --js-heap 32MiB
export const pipeline = async () => {
  const kept: string[] = [];
  for (let i = 0; i < 1e6; i++) kept.push("x".repeat(1e6) + i, JSON.stringify(new Array(1e6).fill(i)));
};
