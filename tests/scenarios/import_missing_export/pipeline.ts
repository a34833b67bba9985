import { greetings } from "./greeting.ts";

export const pipeline = async () => console.log(greetings);
