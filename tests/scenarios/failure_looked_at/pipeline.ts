// Each of these reads how the task ended, or says that it does not matter.
const fail = (more: Partial<RunOptions> = {}) =>
  runtime.run({ name: "t", image: "busybox", command: { path: "sh", args: ["-c", "exit 3"] }, ...more });

const codeOf = (result: RunResult) => result.code;

export const pipeline = async () => {
  const ways: Record<string, (result: RunResult) => unknown> = {
    code: (result) => result.code,
    status: (result) => result.status,
    message: (result) => result.message,
    destructuring: ({ code }) => code,
    rest: ({ stdout, ...rest }) => rest.status,
    spreading: (result) => ({ ...result }).code,
    passing: codeOf,
    JSON: (result) => JSON.parse(JSON.stringify(result)).code,
    clone: (result) => structuredClone(result).code,
    entries: (result) => Object.fromEntries(Object.entries(result)).code,
    assign: (result) => Object.assign({}, result).code,
    equal: (result) => {
      const { stdout, stderr, durationMs } = result;
      assert.equal(result, {
        ok: false,
        code: 3,
        stdout,
        stderr,
        status: "complete",
        signal: null,
        timedOut: false,
        message: "",
        durationMs,
        truncated: false,
      });
      return "equal";
    },
  };
  for (const [name, look] of Object.entries(ways)) {
    console.log(name, look(await fail()));
  }

  await fail({ allowFailure: true });
  await using sandbox = await runtime.startSandbox({ name: "box", image: "busybox" });
  await sandbox.exec({ command: { path: "false" }, allowFailure: true });

  // A rejection that is caught is looked at.
  const caught = await fail({ command: { path: "no such program" } }).catch((error: Error) => error.name);
  console.log(caught);
  void fail({ allowFailure: true });
};
