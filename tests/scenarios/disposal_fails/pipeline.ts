export const pipeline = async () => {
  await using sandbox = {
    async [Symbol.asyncDispose]() {
      throw new Error("close: engine is gone");
    },
  };
  using other = {
    [Symbol.dispose]() {
      throw new Error("dispose: no such thing");
    },
  };
  throw new Error("the tests have to pass");
};
