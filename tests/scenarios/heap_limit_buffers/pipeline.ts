// args: --js-heap 32MiB
export const pipeline = async () => {
  for (let i = 0; i < 1000; i++) new Uint8Array(8 << 20).fill(1);
  console.log("what is not kept does not count");

  const kept: Uint8Array[] = [];
  while (true) kept.push(new Uint8Array(8 << 20).fill(1));
};
