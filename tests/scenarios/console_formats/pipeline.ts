export const pipeline = async () => {
  console.log("%s has %d of %i, %j, %o", "text", 1.5, 2.7, { a: 1 }, [1]);
  console.log({ nested: { deep: { deeper: [1, 2, { x: 1n }] } }, map: new Map([["k", new Set([1])]]) });
  console.error(new Error("only shown").message);
  console.table([{ name: "a", size: 1 }, { name: "b", size: 2 }]);
  console.group("group");
  console.info("indented");
  console.groupEnd();
  console.log([undefined, null, -0, Symbol("s"), () => 1, class A {}]);
};
