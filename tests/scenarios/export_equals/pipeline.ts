const pipeline = async () => {};
export = pipeline;
