export const pipeline = async () => {
  const volume = await runtime.createVolume({ name: "v", size: "1MB" });
  assert.equal(await runtime.createVolume({ name: "v", size: 1_000_000 }), volume);
  assert.equal(await runtime.createVolume({ name: "v" }), volume);
  await runtime.createVolume({ name: "w" });
  for (const options of [{ name: "v", size: "2MB" }, { name: "w", size: "1MB" }]) {
    await runtime.createVolume(options).catch((error: Error) => console.log(error.message));
  }
  await runtime.createVolume({ name: "v", size: "3MB" });
};
