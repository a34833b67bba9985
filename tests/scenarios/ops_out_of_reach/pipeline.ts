// Replaces what the runtime's own code might call with an op or with the object that holds them.
const seen = new Set<string>();
const look = (...values: unknown[]) => {
  for (const value of values) {
    if (value !== null && typeof value === "object" && "op_task_start" in value) seen.add("all ops");
  }
};
const call = Function.prototype.call;
const apply = Reflect.apply;
Function.prototype.call = function (this: () => unknown, ...args: unknown[]) {
  look(this, ...args);
  return apply(call, this, args);
} as typeof call;

export const pipeline = async () => {
  await runtime.createVolume({ name: "a" });
  await runtime.run({ name: "b", image: "busybox", command: { path: "true" }, onOutput: () => {} });
  console.log([...seen]);
};
