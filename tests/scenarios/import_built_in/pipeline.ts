import { readFileSync } from "node:fs";

export const pipeline = async () => console.log(readFileSync);
