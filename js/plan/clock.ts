// The clock of deadlines.

/** What deadlines go by, in ms. The clock of a run stands still while a user looks into a failure. */
export const clock: { now: () => number } = { now: Date.now };
