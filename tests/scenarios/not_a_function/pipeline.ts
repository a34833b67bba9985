export const pipeline = { steps: [] };
