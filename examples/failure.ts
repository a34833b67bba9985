// A command that fails does not throw: the pipeline decides what its exit code means.
//
//     ci run examples/failure.ts      # ends with exit code 1

export const pipeline: Pipeline = async () => {
  const lint = await runtime.run({
    name: "lint",
    image: "busybox",
    command: ["sh", "-c", "echo 'main.c:3: unused variable' >&2; exit 3"],
  });
  if (lint.code !== 0) {
    console.log(`lint ended with ${lint.code}, which is only a warning here`);
  }

  const build = await runtime.run({
    name: "build",
    image: "busybox",
    command: ["sh", "-c", "echo 'compiling'; exit 2"],
  });
  assert.equal(build.code, 0, "the build has to succeed");
};
