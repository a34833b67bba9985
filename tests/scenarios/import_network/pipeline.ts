import { x } from "https://example.com/x.ts";

export const pipeline = async () => console.log(x);
