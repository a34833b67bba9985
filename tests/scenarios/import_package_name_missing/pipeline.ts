import nothing from "#nothing";
export const pipeline = async () => console.log(nothing);
