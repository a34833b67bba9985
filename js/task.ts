// What `runtime.run` and `sandbox.exec` have in common: from options to a task, and from its end to a
// result.

import { core } from "ext:core/mod.js";
import type { CallSite } from "ext:ci/call_site.ts";
import {
  boolean,
  bytes,
  callback,
  type Check,
  type Checked,
  duration,
  nonEmpty,
  optional,
  positiveNumber,
  record,
  type Shape,
  signal,
  size,
  systemValues,
} from "ext:ci/checks.ts";
import { environment, noVariables } from "ext:ci/env.ts";
import type { Field } from "ext:ci/field.ts";
import { rejection, settled, started, tracked } from "ext:ci/failures.ts";
import { encoded } from "ext:ci/memory.ts";
import { mounts } from "ext:ci/mounts.ts";
import { ops } from "ext:ci/ops.ts";
import { scriptCommand } from "ext:ci/script.ts";
import { secretFiles, secretName } from "ext:ci/secret.ts";
import type {
  CommandRequest,
  ContainerRequest,
  ExecutionRequest,
  LimitsRequest,
  TaskResult,
} from "ext:ci/ops.gen.ts";

type OnOutput = NonNullable<CommandFields["onOutput"]>;

/** What a call rejects with when its task was to end before it began. */
class AbortError extends Error {}
Object.defineProperty(AbortError.prototype, "name", { value: "AbortError" });
core.registerErrorBuilder("AbortError", (message) => new AbortError(message));

const command: Check<Command | readonly string[], CommandRequest> = (field) => {
  if (typeof field.value === "string") {
    throw field.expected(
      'array such as `["npm", "test"]`',
      "; to have a shell read it, write `script` instead of `command`",
    );
  }
  if (Array.isArray(field.value)) {
    const [path, ...args] = systemValues(field as Field<readonly string[]>);
    if (path === undefined || path === "") {
      const found = path === undefined ? "an empty array" : "an empty string first";
      throw field.error(`expected a program and its arguments, got ${found}`);
    }
    return { path, args, user: null };
  }
  const checked = record(field as Field<Command>, {
    path: optional(nonEmpty("the path or the name of a program")),
    args: optional(systemValues),
    user: optional(user),
  } satisfies Shape<Command>);
  // Without one, the image has a command of its own.
  return { ...checked, path: checked.path ?? "", args: checked.args ?? [] };
};

/** What runs: a command or a script, and who runs it. */
function execution(
  field: Field<unknown>,
  { command, script, user }: Checked<typeof commandShape>,
): CommandRequest {
  if (script !== null) {
    if (command !== null) {
      throw field.error("expected `command` or `script`, got both");
    }
    return scriptCommand(script, user);
  }
  if (command === null) {
    throw field.error("expected `command` or `script`, got neither");
  }
  if (command.user !== null && user !== null) {
    throw field.error("expected `user` or `command.user`, got both");
  }
  return { ...command, user: user ?? command.user };
}

/** The image, or that of the command line. */
const image: Check<string | undefined, string> = (field) => {
  if (field.value !== undefined) {
    return nonEmpty("an image such as `alpine:3.20`")(field as Field<string>);
  }
  const image = ops.op_default_image();
  if (image === null) {
    throw field.error(
      "expected an image such as `alpine:3.20`, which the driver needs; for tasks that name none, " +
        "pass `--image` to `ci run`",
    );
  }
  return image;
};

const limits: Check<ContainerLimits, LimitsRequest> = (field) =>
  record(field, {
    cpu: optional(positiveNumber),
    memory: optional(size),
  } satisfies Shape<ContainerLimits>);

export const directory = nonEmpty("a directory");
export const user = nonEmpty("a user such as `1000:1000`");

export const containerShape = {
  image,
  env: optional(environment),
  mounts: optional(mounts),
  secrets: optional(secretFiles),
  workDir: optional(directory),
  privileged: optional(boolean),
  network: optional(boolean),
  containerLimits: optional(limits),
} satisfies Shape<ContainerOptions>;

/** What a command reads: bytes, or the name of a secret. */
const input: Check<string | Uint8Array | Secret, Uint8Array | { secret: string }> = (field) => {
  const secret = secretName(field.value);
  return secret === null ? bytes(encoded)(field as Field<string | Uint8Array>) : { secret };
};

export const commandShape = {
  command: optional(command),
  script: optional(nonEmpty("a script such as `npm ci && npm test`")),
  user: optional(user),
  stdin: optional(input),
  timeout: optional(duration),
  signal: optional(signal),
  cleanup: optional(boolean),
  willRetry: optional(boolean),
  allowFailure: optional(boolean),
  onOutput: optional(callback<OnOutput>()),
} satisfies Shape<CommandFields>;

export function containerRequest(options: Checked<typeof containerShape>): ContainerRequest {
  return {
    image: options.image,
    ...options.env ?? noVariables(),
    mounts: options.mounts ?? [],
    secrets: options.secrets ?? [],
    workDir: options.workDir,
    privileged: options.privileged ?? false,
    offline: options.network === false,
    limits: options.containerLimits ?? { cpu: null, memory: null },
  };
}

/** Runs the task that `start` starts. `name` is what messages call it, and `field` holds its options. */
export function execute(
  name: string,
  field: Field<unknown>,
  options: Checked<typeof commandShape>,
  site: CallSite,
  start: (execution: ExecutionRequest) => number,
): Promise<RunResult> {
  const command = execution(field, options);
  const { stdin, timeout, signal, cleanup, willRetry, onOutput } = options;
  const failing = { name, mayFail: options.allowFailure === true, site };
  let task: number;
  try {
    task = start({
      command,
      script: options.script,
      stdin: stdin instanceof Uint8Array ? stdin : null,
      secretStdin: stdin !== null && "secret" in stdin ? stdin.secret : null,
      timeoutMs: timeout,
      leftOfMs: null,
      cleanup: cleanup ?? false,
      willRetry: willRetry ?? false,
      streamOutput: onOutput !== null,
      step: null,
    });
  } catch (error) {
    return Promise.reject(failed(error, failing));
  }
  const ended = watchedResult(task, onOutput, failing);
  return signal === null ? ended : cancellable(task, ended, signal);
}

/** What there is to say of a task that fails, and to whom. */
interface Failing {
  readonly name: string;
  /** Whether the pipeline need not look. */
  readonly mayFail: boolean;
  readonly site: CallSite;
}

/** The error of a task without a result, at which the pipeline has to look unless it has allowed it. */
function failed(reason: unknown, { name, mayFail, site }: Failing): unknown {
  const error = site.adopt(reason);
  return mayFail ? error : rejection(name, error, site);
}

/** The result, whose failure the pipeline has to look at unless it has allowed it. */
async function watchedResult(
  task: number,
  onOutput: OnOutput | null,
  failing: Failing,
): Promise<RunResult> {
  const { name, mayFail, site } = failing;
  const watch = started(name, site);
  try {
    const ended = onOutput === null
      ? await result(task, failing)
      : await streamedResult(task, onOutput, failing);
    const told = { ...ended, ok: ended.code === 0 && ended.status === "complete" };
    return mayFail ? told : tracked(name, told, site);
  } finally {
    settled(watch);
  }
}

/** Ends the task when the signal is aborted, or at once if it already is. */
async function cancellable(
  task: number,
  ended: Promise<RunResult>,
  signal: AbortSignal,
): Promise<RunResult> {
  const cancel = () => ops.op_task_cancel(task, true);
  if (signal.aborted) {
    cancel();
  }
  signal.addEventListener("abort", cancel);
  try {
    return await ended;
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

async function result(task: number, failing: Failing): Promise<TaskResult> {
  try {
    return await ops.op_task_wait(task);
  } catch (error) {
    throw failed(error, failing);
  }
}

/** Hands the output over while the task runs, and settles after the last call of `onOutput`. */
async function streamedResult(
  task: number,
  onOutput: OnOutput,
  failing: Failing,
): Promise<TaskResult> {
  try {
    let chunk = await ops.op_task_output(task);
    while (chunk !== null) {
      // Waiting for each call is what slows the task down to the pace of its consumer.
      await onOutput(chunk.stream, chunk.data);
      chunk = await ops.op_task_output(task);
    }
  } catch (error) {
    ops.op_task_cancel(task, false);
    // The task must be gone when the pipeline continues; how it ended does not matter any more.
    await ops.op_task_wait(task).catch(() => undefined);
    throw error;
  }
  return result(task, failing);
}
