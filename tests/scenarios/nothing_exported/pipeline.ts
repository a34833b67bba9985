export const pipelines = 1;
export function helper() {}
