// `task`: runs a command.

import { cacheName, declareCaches } from "ext:ci/plan/caches.ts";
import { readConfig } from "ext:ci/plan/files.ts";
import { ending, failed, modified } from "ext:ci/plan/modifiers.ts";
import { worst } from "ext:ci/plan/slots.ts";
import type { Modifiers, Outcome, Scope, Step, Task, TaskConfig } from "ext:ci/plan/types.ts";
import { resolved, shown } from "ext:ci/plan/vars.ts";

/** Runs a command, or several copies of it. */
export function task(options: Task, modifiers?: Modifiers): Step {
  if (options.config !== undefined) {
    declareCaches(options.task, options.config);
  }
  return modified((scope) => runTask(options, scope), modifiers);
}

async function runTask(given: Task, scope: Scope): Promise<Outcome> {
  const options = resolved(given, scope.vars);
  const config = options.config ?? await readConfig(options, scope);
  const name = options.task + scope.suffix;
  const count = options.parallelism;
  if (count === undefined) {
    return runOnce(name, {}, config, options, scope);
  }
  return worst(
    await Promise.all(Array.from({ length: count }, (_, index) => {
      const env = { CI_TASK_INDEX: String(index + 1), CI_TASK_COUNT: String(count) };
      return runOnce(`${name}-${index + 1}`, env, config, options, scope);
    })),
  );
}

function runOnce(
  name: string,
  env: Readonly<Record<string, string>>,
  config: TaskConfig,
  options: Task,
  scope: Scope,
): Promise<Outcome> {
  const { job } = scope;
  return job.slots(() =>
    job.run.slots(async () => {
      const end = ending(scope);
      if (typeof end === "string") {
        return end;
      }
      job.execution.push(name);
      try {
        const { mounts, outputs } = await volumes(config, options, scope);
        const result = await runtime.run({
          name,
          image: image(config, options, scope),
          command: command(config.run),
          env: environment({ ...config.params, ...options.params, ...scope.env, ...env }),
          mounts,
          privileged: options.privileged,
          containerLimits: limits(options.container_limits ?? config.container_limits),
          ...end,
        });
        for (const [artifact, volume] of outputs) {
          scope.artifacts.set(artifact, { volume });
        }
        return judged(name, result, options, scope);
      } catch (error) {
        return failed(scope, error, `\`${name}\`: `);
      }
    })
  );
}

/** The outcome of a task that ended, and what its `assert` says about it. */
function judged(name: string, result: RunResult, options: Task, scope: Scope): Outcome {
  const { code, stdout, stderr } = options.assert ?? {};
  const wrong: string[] = [];
  if (code !== undefined && result.code !== code) {
    wrong.push(`expected exit code ${code}, got ${result.code}`);
  }
  if (stdout !== undefined && !result.stdout.includes(stdout)) {
    wrong.push(`expected standard output that contains \`${stdout}\``);
  }
  if (stderr !== undefined && !result.stderr.includes(stderr)) {
    wrong.push(`expected standard error output that contains \`${stderr}\``);
  }
  for (const text of wrong) {
    scope.job.run.wrong.push(`${scope.job.name}: \`${name}\`: ${text}`);
  }
  if (wrong.length > 0) {
    return "failure";
  }
  if (result.code === 0) {
    return "success";
  }
  const timedOut = result.status === "abort" && scope.deadline <= Date.now();
  const why = result.message || `exit code ${result.code}`;
  scope.job.problems.push(`\`${name}\`: ${why}`);
  return result.status === "abort" && !timedOut ? "abort" : "failure";
}

/** Where a task sees artifacts and caches, and which volumes become artifacts. */
async function volumes(config: TaskConfig, options: Task, scope: Scope) {
  const mounts = new Map<string, Volume>();
  const outputs = new Map<string, Volume>();
  for (const { name, path, optional } of config.inputs ?? []) {
    const source = options.input_mapping?.[name] ?? name;
    const artifact = scope.artifacts.get(source);
    if (artifact !== undefined) {
      mounts.set(path ?? name, artifact.volume);
    } else if (optional !== true) {
      throw new Error(`the input \`${source}\` comes from no earlier step`);
    }
  }
  for (const { name, path = name } of config.outputs ?? []) {
    // An output in the place of an input goes on with what is there.
    const volume = mounts.get(path) ?? await runtime.createVolume();
    mounts.set(path, volume);
    outputs.set(options.output_mapping?.[name] ?? name, volume);
  }
  for (const cache of config.caches ?? []) {
    const name = cacheName(options.task, cache);
    mounts.set(cache.path, await runtime.createVolume({ name }));
  }
  return { mounts: Object.fromEntries(mounts), outputs };
}

/** Inputs are mounted in the working directory, also when the command starts below it. */
function command(run: TaskConfig["run"]): Command {
  const { dir, user } = run;
  const path = shown(run.path);
  const args = run.args?.map(shown) ?? [];
  return dir === undefined
    ? { path, args, user }
    : { path: "sh", args: ["-c", 'cd "$0" && exec "$@"', dir, path, ...args], user };
}

function image(config: TaskConfig, options: Task, scope: Scope): string {
  if (options.image === undefined) {
    return config.image ?? "busybox";
  }
  const image = scope.artifacts.get(options.image)?.image;
  if (image === undefined) {
    throw new Error(`the artifact \`${options.image}\` is no image`);
  }
  return image;
}

function environment(values: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, shown(value)]));
}

function limits(given: Task["container_limits"]): ContainerLimits | undefined {
  return given && {
    cpu: given.cpu === undefined ? undefined : given.cpu / 1024,
    memory: given.memory,
  };
}
