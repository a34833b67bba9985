export const pipeline = async () => {
  const start = performance.mark("start", { detail: { step: 1 } });
  performance.mark("end");
  const measure = performance.measure("between", "start", "end");
  console.log(start.name, start.entryType, start.detail, measure.entryType, measure.duration >= 0);
  console.log(performance.getEntries().map(({ name }) => name));
  console.log(performance.getEntriesByName("start").length, performance.getEntriesByType("mark").length);
  console.log(performance.timeOrigin > 0, typeof performance.toJSON());
  performance.clearMarks("start");
  performance.clearMeasures();
  console.log(performance.getEntries().map(({ name }) => name));
};
