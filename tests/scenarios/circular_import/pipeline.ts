import { two } from "./two.ts";

export const one = () => "one";
export const pipeline = async () => console.log(two());
