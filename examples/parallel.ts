// Tasks that do not wait for each other run at the same time.
//
//     ci run examples/parallel.ts -- 5

export const pipeline: Pipeline = async () => {
  const count = Number(pipelineContext.args[0] ?? 3);

  const results = await Promise.all(
    Array.from({ length: count }, (_, index) =>
      runtime.run({
        name: `square-${index}`,
        image: "busybox",
        command: ["sh", "-c", "echo $((N * N))"],
        env: { N: String(index) },
      })
    ),
  );

  const squares = results.map((result) => Number(result.stdout));
  console.log("squares: %o", squares);
  assert.equal(squares, Array.from({ length: count }, (_, index) => index * index));
};
