export const pipeline = async () => {
  void Promise.reject(new Error("nobody looks at me"));
  await new Promise((resolve) => setTimeout(resolve, 10));
};
