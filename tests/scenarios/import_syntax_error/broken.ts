export const fine: number = 1;
export const broken = ;
