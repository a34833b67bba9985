// args: --timeout 500ms
export const pipeline = async () => {
  while (true) {}
};
