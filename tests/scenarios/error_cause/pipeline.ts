const read = () => {
  throw new RangeError("the disk is made of cheese");
};

export const pipeline = async () => {
  try {
    read();
  } catch (cause) {
    throw new Error("cannot load the settings", { cause });
  }
};
