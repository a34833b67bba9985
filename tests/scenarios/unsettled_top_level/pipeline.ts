await new Promise(() => {});

export const pipeline = async () => {};
