export const greeting = 1;
