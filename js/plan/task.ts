// `task`: runs a command.

import { cacheName, declareCaches } from "ext:ci/plan/caches.ts";
import { clock } from "ext:ci/plan/clock.ts";
import { fromCommandLine } from "ext:ci/plan/files.ts";
import { MOST_COMBINATIONS } from "ext:ci/plan/modifiers.ts";
import { Ended, endedBy, execute, failed, isNotStarted, worst } from "ext:ci/plan/outcomes.ts";
import { forked, slotted } from "ext:ci/plan/slots.ts";
import type { ConfigFile, Outcome, Scope, Step, Task, TaskConfig } from "ext:ci/plan/types.ts";
import { resolved, shown } from "ext:ci/plan/vars.ts";

/** Runs a command, or several copies of it. */
export function task(options: Task, config: TaskConfig | ConfigFile): Step {
  if (typeof config !== "function") {
    declareCaches(options.task, config.caches);
  }
  return async (scope) => {
    if (scope.combinations * (options.parallelism ?? 1) > MOST_COMBINATIONS) {
      const most = `more than ${MOST_COMBINATIONS} copies in all combinations`;
      return failed(scope, `parallelism: \`${options.task}\` has ${most}`);
    }
    let given = options;
    let found: TaskConfig;
    try {
      given = resolved(options, scope.vars);
      found = typeof config === "function"
        ? await config(given, scope)
        : resolved(config, scope.vars);
    } catch (error) {
      const names = copies(given, scope).map(({ name }) => name);
      const outcome = failed(scope, error, `\`${names[0]}\`: `);
      if (outcome !== "abort" && !isNotStarted(error)) {
        names.forEach((name) => scope.job.execution.add({ name }));
      }
      return outcome;
    }
    return runAll(given, found, scope);
  };
}

/** A task, or one of its copies. */
interface Copy {
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
}

function copies({ task, parallelism }: Task, { suffix }: Scope): Copy[] {
  const name = task + suffix;
  if (parallelism === undefined) {
    return [{ name, env: {} }];
  }
  return Array.from({ length: parallelism }, (_, index) => ({
    name: `${name}-${index + 1}`,
    env: { CI_TASK_INDEX: String(index + 1), CI_TASK_COUNT: String(parallelism) },
  }));
}

async function runAll(options: Task, config: TaskConfig, scope: Scope): Promise<Outcome> {
  // All copies write to the same outputs.
  let shared: ReturnType<typeof volumes> | undefined;
  const mounted = () => shared ??= volumes(config, options, scope);
  const { execution } = scope.job;
  let first: Outcome | undefined;
  const outcomes = await forked(scope, copies(options, scope), async (copy, scope) => {
    const started = { name: copy.name };
    let outcome: Outcome;
    try {
      outcome = await slotted(scope, () => {
        execution.add(started);
        return runCopy(copy, config, options, scope, mounted);
      });
    } catch (error) {
      outcome = failed(scope, error, `\`${copy.name}\`: `);
      // It had its turn if its time has passed since.
      if (error instanceof Ended || outcome === "abort" && isNotStarted(error)) {
        execution.delete(started);
      }
    }
    // The others cannot change that any more.
    if (outcome !== "success" && endedBy(scope, outcome)) {
      first ??= outcome;
    }
    return outcome;
  });
  return first ?? worst(outcomes);
}

async function runCopy(
  { name, env }: Copy,
  config: TaskConfig,
  options: Task,
  scope: Scope,
  mounted: () => ReturnType<typeof volumes>,
): Promise<Outcome> {
  const { mounts, outputs } = await mounted();
  const result = await execute(scope, {
    name,
    image: image(config, options, scope),
    command: command(config.run),
    env: environment({ ...config.params, ...options.params, ...scope.env, ...env }),
    mounts,
    privileged: options.privileged,
    containerLimits: limits(options.container_limits ?? config.container_limits),
  });
  for (const [artifact, volume] of outputs) {
    scope.artifacts.set(artifact, { volume });
  }
  return judged(name, result, options, scope);
}

/** The outcome of a task that ended, and what its `assert` says about it. */
function judged(name: string, result: RunResult, options: Task, scope: Scope): Outcome {
  const why = `\`${name}\`: ${result.message || `exit code ${result.code}`}`;
  const timedOut = !scope.signal.aborted && scope.deadline <= clock.now();
  if (result.status === "abort" && !timedOut) {
    scope.report.problems.push(why);
    return "abort";
  }
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
    scope.report.wrong.push(`${scope.job.name}: \`${name}\`: ${text}`);
  }
  if (wrong.length === 0 && result.code === 0) {
    return "success";
  }
  if (result.code !== 0) {
    scope.report.problems.push(why);
  }
  return "failure";
}

/** Where a task sees artifacts and caches, and which volumes become artifacts. */
async function volumes(config: TaskConfig, options: Task, scope: Scope) {
  const mounts = new Map<string, Volume>();
  const outputs = new Map<string, Volume>();
  for (const { name, path, optional } of config.inputs ?? []) {
    const source = options.input_mapping?.[name] ?? name;
    const artifact = scope.artifacts.get(source) ?? await fromCommandLine(source, scope);
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
    throw new Error(
      `the artifact \`${options.image}\` is no image: get it from a \`registry-image\` resource, on a driver with images`,
    );
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
