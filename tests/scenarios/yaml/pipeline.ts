export const pipeline = async () => {
  const value = YAML.parse("jobs:\n  - name: build\n    count: 3\n    on: true\n    ratio: 0.5\n    none: ~\n");
  console.log(value);
  assert.equal(YAML.parse(YAML.stringify(value)), value);
  try {
    YAML.parse("a: [1, 2");
  } catch (error) {
    console.log((error as Error).name, (error as Error).message);
  }
};
