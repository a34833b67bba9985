const settings = JSON.parse("{ nope");

export const pipeline = async () => console.log(settings);
