export const pipeline = async () => {
  try {
    await import("./nowhere.ts");
  } catch (error) {
    console.log((error as Error).name, (error as Error).message);
  }
  throw new Error("something else");
};
