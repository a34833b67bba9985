import { value } from "old";

export const pipeline = async () => console.log(value);
