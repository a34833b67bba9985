export const pipeline = async () => {
  assert.equal({ name: "a", files: ["x", "y"], deep: { on: true } }, {
    name: "a",
    files: ["x", "z"],
    deep: { on: true },
  }, "the files of the build");
};
