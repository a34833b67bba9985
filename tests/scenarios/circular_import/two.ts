import { one } from "./pipeline.ts";

export const two = () => `two after ${one()}`;
