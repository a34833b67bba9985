// `task`: runs a command.

import { cacheName, declareCaches } from "ext:ci/plan/caches.ts";
import { clock } from "ext:ci/plan/clock.ts";
import { fromCommandLine, mounted } from "ext:ci/plan/files.ts";
import { MOST_COMBINATIONS } from "ext:ci/plan/modifiers.ts";
import {
  Ended,
  endedBy,
  execute,
  failed,
  isNotStarted,
  plainImage,
  worst,
} from "ext:ci/plan/outcomes.ts";
import { imageOf } from "ext:ci/plan/resource_types.ts";
import { forked, slotted } from "ext:ci/plan/slots.ts";
import type {
  Artifact,
  ConfigFile,
  ImageResource,
  Outcome,
  Scope,
  Step,
  Task,
  TaskConfig,
} from "ext:ci/plan/types.ts";
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
  const prepared = () => shared ??= volumes(config, options, scope);
  const { execution } = scope.job;
  let first: Outcome | undefined;
  const outcomes = await forked(scope, copies(options, scope), async (copy, scope) => {
    const started = { name: copy.name };
    let outcome: Outcome;
    try {
      outcome = await slotted(scope, () => {
        execution.add(started);
        return runCopy(copy, config, options, scope, prepared);
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
  prepared: () => ReturnType<typeof volumes>,
): Promise<Outcome> {
  const { mounts, outputs } = await prepared();
  const result = await execute(scope, {
    name,
    image: image(config, options, scope),
    network: options.hermetic === true ? false : undefined,
    command: command(config.run),
    env: environment({ ...config.params, ...options.params, ...scope.env, ...env }),
    mounts,
    privileged: options.privileged,
    containerLimits: limits(options.container_limits ?? config.container_limits),
  });
  if (hasNoDirectory(config.run, result)) {
    throw new Error(`\`run.dir\`: there is no directory \`${config.run.dir}\``);
  }
  for (const [name, artifact] of outputs) {
    scope.artifacts.set(name, artifact);
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
  const outputs = new Map<string, Artifact>();
  for (const { name, path, optional } of config.inputs ?? []) {
    const source = options.input_mapping?.[name] ?? name;
    const artifact = scope.artifacts.get(source) ?? await fromCommandLine(source, scope);
    if (artifact !== undefined) {
      mounted(path ?? name, artifact).forEach(([at, volume]) => mounts.set(at, volume));
    } else if (optional !== true) {
      throw new Error(`the input \`${source}\` comes from no earlier step`);
    }
  }
  for (const { name, path = name } of config.outputs ?? []) {
    // An output in the place of an input goes on with what is there.
    const volume = mounts.get(path) ?? await runtime.createVolume();
    mounts.set(path, volume);
    outputs.set(options.output_mapping?.[name] ?? name, { volume });
  }
  for (const cache of config.caches ?? []) {
    const name = cacheName(options.task, cache);
    mounts.set(cache.path, await runtime.createVolume({ name }));
  }
  for (const { name, path = name } of config.outputs ?? []) {
    const artifact = options.output_mapping?.[name] ?? name;
    const volume = mounts.get(path);
    if (volume !== undefined) {
      outputs.set(artifact, { volume, caches: cachesWithin(path, mounts, config) });
    }
  }
  return { mounts: Object.fromEntries(mounts), outputs };
}

/** The caches that are mounted below an output. A task that takes the output finds them there. */
function cachesWithin(output: string, mounts: ReadonlyMap<string, Volume>, config: TaskConfig) {
  const above = pathParts(output);
  const found: [string, Volume][] = [];
  for (const { path } of config.caches ?? []) {
    const below = pathParts(path);
    const volume = mounts.get(path);
    const isWithin = !path.startsWith("/") && below.length > above.length &&
      above.every((part, at) => part === below[at]);
    if (isWithin && volume !== undefined) {
      found.push([below.slice(above.length).join("/"), volume]);
    }
  }
  return found;
}

function pathParts(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

/** Inputs are mounted in the working directory, also when the command starts below it. */
function command(run: TaskConfig["run"]): Command {
  const { dir, user } = run;
  const args = run.args?.map(shown) ?? [];
  if (run.path === undefined) {
    return ownCommand(args, dir, user);
  }
  const path = shown(run.path);
  return dir === undefined
    ? { path, args, user }
    : { path: "sh", args: ["-c", IN_DIRECTORY, dir, path, ...args], user };
}

/** What the image runs itself. */
function ownCommand(args: string[], dir: string | undefined, user: string | undefined): Command {
  if (!pipelineContext.hasImages) {
    throw new Error(
      `the task has no \`run.path\`, and the ${pipelineContext.driverName} driver has no image with a command of its own`,
    );
  }
  if (dir !== undefined) {
    throw new Error("`run.dir` needs `run.path`: the command of an image starts where the image says");
  }
  return { args, user };
}

/** Runs a command in a directory. */
const IN_DIRECTORY =
  'cd "$0" 2>/dev/null || { echo "ci: no directory $0" >&2; exit 126; }; exec "$@"';

/** Whether the directory of a command is missing, so that nothing was run. */
function hasNoDirectory({ dir }: TaskConfig["run"], { code, stderr }: RunResult): boolean {
  return dir !== undefined && code === 126 && stderr.trimEnd().endsWith(`ci: no directory ${dir}`);
}

function image(config: TaskConfig, options: Task, scope: Scope): string | undefined {
  if (options.image === undefined) {
    return config.image ?? resourceImage(config.image_resource) ?? plainImage();
  }
  const artifact = scope.artifacts.get(options.image);
  if (artifact !== undefined && !pipelineContext.hasImages) {
    return undefined;
  }
  const image = artifact?.image;
  if (image === undefined) {
    throw new Error(
      `the artifact \`${options.image}\` is no image: get it from a \`registry-image\` resource, on a driver with images`,
    );
  }
  return image;
}

/** The image that an `image_resource` stands for. What it is nowhere needed for, it need not be. */
function resourceImage(resource: ImageResource | undefined): string | undefined {
  if (resource === undefined || !pipelineContext.hasImages) {
    return undefined;
  }
  const { type, source = {}, version } = resource;
  const isByName = ["", "registry-image", "docker-image"].includes(type);
  if (!isByName || source["repository"] === undefined) {
    throw new Error(
      `\`image_resource\`: an image of the type \`${type}\` cannot be used; name one by \`registry-image\` and \`repository\``,
    );
  }
  const { digest } = (version ?? {}) as { digest?: unknown };
  return digest === undefined
    ? imageOf(source)
    : `${shown(source["repository"])}@${shown(digest)}`;
}

function environment(values: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, shown(value ?? "")]));
}

function limits(given: Task["container_limits"]): ContainerLimits | undefined {
  return given && {
    cpu: given.cpu === undefined ? undefined : given.cpu / 1024,
    memory: given.memory,
  };
}
