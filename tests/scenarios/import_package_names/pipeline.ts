import { colour } from "paints";
import { nanoid } from "ids";

export const pipeline = async () => {
  console.log(colour, nanoid);
};
