import { broken } from "./broken.ts";

export const pipeline = async () => console.log(broken);
