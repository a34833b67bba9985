// `runtime.run`: from the pipeline's options to a task, and from its end to a result.

import { core } from "ext:core/mod.js";
import { CallSite, type Entry } from "ext:ci/call_site.ts";
import {
  boolean,
  bytes,
  callback,
  type Check,
  duration,
  list,
  nonEmpty,
  optional,
  positiveNumber,
  record,
  type Shape,
  signal,
  size,
  systemValue,
} from "ext:ci/checks.ts";
import { environment } from "ext:ci/env.ts";
import { Field } from "ext:ci/field.ts";
import { mounts } from "ext:ci/mounts.ts";
import { ops } from "ext:ci/ops.ts";
import type { CommandRequest, LimitsRequest, TaskRequest } from "ext:ci/ops.gen.ts";

type OnOutput = NonNullable<RunOptions["onOutput"]>;

const entry: Entry = { name: "runtime.run", function: run };

/** What `runtime.run` rejects with when a task was to end before it began. */
class AbortError extends Error {}
Object.defineProperty(AbortError.prototype, "name", { value: "AbortError" });
core.registerErrorBuilder("AbortError", (message) => new AbortError(message));

/** See the typings. Not `async`, so that stacks can be cut where the pipeline called it. */
export function run(options: RunOptions): Promise<RunResult> {
  const site = new CallSite(entry);
  try {
    const { onOutput, signal, ...request } = taskRequest(new Field<RunOptions>(entry, options));
    const task = startTask(request, site);
    const ended = onOutput === null ? result(task, site) : streamedResult(task, onOutput, site);
    return signal === null ? ended : cancellable(task, ended, signal);
  } catch (error) {
    return Promise.reject(error);
  }
}

const command: Check<Command, CommandRequest> = (field) => {
  const checked = record(field, {
    path: nonEmpty("the path or the name of a program"),
    args: optional(list(systemValue)),
    user: optional(nonEmpty("a user such as `1000:1000`")),
  } satisfies Shape<Command>);
  return { ...checked, args: checked.args ?? [] };
};

const limits: Check<ContainerLimits, LimitsRequest> = (field) =>
  record(field, {
    cpu: optional(positiveNumber),
    memory: optional(size),
  } satisfies Shape<ContainerLimits>);

const shape = {
  name: nonEmpty("a task name"),
  image: nonEmpty("an image such as `alpine:3.20`"),
  command,
  env: optional(environment),
  mounts: optional(mounts),
  workDir: optional(nonEmpty("a directory")),
  stdin: optional(bytes(core.encode)),
  timeout: optional(duration),
  privileged: optional(boolean),
  containerLimits: optional(limits),
  signal: optional(signal),
  cleanup: optional(boolean),
  onOutput: optional(callback<OnOutput>()),
} satisfies Shape<RunOptions>;

interface Callbacks {
  readonly onOutput: OnOutput | null;
  readonly signal: AbortSignal | null;
}

function taskRequest(field: Field<RunOptions>): TaskRequest & Callbacks {
  const options = record(field, shape);
  return {
    name: options.name,
    image: options.image,
    command: options.command,
    env: options.env ?? [],
    mounts: options.mounts ?? [],
    workDir: options.workDir,
    stdin: options.stdin,
    timeoutMs: options.timeout,
    privileged: options.privileged ?? false,
    limits: options.containerLimits ?? { cpu: null, memory: null },
    cleanup: options.cleanup ?? false,
    streamOutput: options.onOutput !== null,
    onOutput: options.onOutput,
    signal: options.signal,
  };
}

/** Ends the task when the signal is aborted, or at once if it already is. */
async function cancellable(
  task: number,
  ended: Promise<RunResult>,
  signal: AbortSignal,
): Promise<RunResult> {
  const cancel = () => ops.op_task_cancel(task);
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

function startTask(request: TaskRequest, site: CallSite): number {
  try {
    return ops.op_task_start(request);
  } catch (error) {
    throw site.adopt(error);
  }
}

async function result(task: number, site: CallSite): Promise<RunResult> {
  try {
    // An object as pipelines make them; those of the host have no prototype.
    return { ...await ops.op_task_wait(task) };
  } catch (error) {
    throw site.adopt(error);
  }
}

/** Hands the output over while the task runs, and settles after the last call of `onOutput`. */
async function streamedResult(
  task: number,
  onOutput: OnOutput,
  site: CallSite,
): Promise<RunResult> {
  try {
    let chunk = await ops.op_task_output(task);
    while (chunk !== null) {
      // Waiting for each call is what slows the task down to the pace of its consumer.
      await onOutput(chunk.stream, chunk.data);
      chunk = await ops.op_task_output(task);
    }
  } catch (error) {
    ops.op_task_cancel(task);
    // The task must be gone when the pipeline continues; how it ended does not matter any more.
    await ops.op_task_wait(task).catch(() => undefined);
    throw error;
  }
  return result(task, site);
}
