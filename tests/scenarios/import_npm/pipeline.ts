import chalk from "npm:chalk@5";

export const pipeline = async () => console.log(chalk);
