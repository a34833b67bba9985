import type { Shape } from "./shapes.ts";
import { type Size, area } from "./shapes.ts";

export const pipeline = async () => {
  const shape: Shape & { size: Size } = { size: 3 };
  console.log(area(shape.size));
};
