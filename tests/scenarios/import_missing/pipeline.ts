import { greeting } from "./greeting";

export const pipeline = async () => console.log(greeting);
