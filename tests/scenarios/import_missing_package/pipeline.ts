import chalk from "chalk";

export const pipeline = async () => console.log(chalk);
