export interface Shape { size: number }
export type Size = number;
export const area = (size: Size) => size * size;
