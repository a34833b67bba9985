// Files in artifacts: a task's config, and the values of variables.

import { declareCaches } from "ext:ci/plan/caches.ts";
import { inTime, modified, StepFailure } from "ext:ci/plan/modifiers.ts";
import type { LoadVar, Modifiers, Scope, Step, Task, TaskConfig } from "ext:ci/plan/types.ts";
import { resolved, shown } from "ext:ci/plan/vars.ts";

/** Reads a file into a variable, for the steps after this one. */
export function loadVar(options: LoadVar, modifiers?: Modifiers): Step {
  return modified(async (scope) => {
    const { load_var, file, format } = resolved(options, scope.vars);
    const text = await readFile(load_var, file, scope);
    const by = format ?? /\.(json|ya?ml)$/.exec(file)?.[1] ?? "trim";
    const parsers: Record<string, (text: string) => unknown> = {
      json: JSON.parse,
      yaml: YAML.parse,
      yml: YAML.parse,
      raw: (text) => text,
      trim: (text) => text.trim(),
    };
    (scope.vars as Map<string, unknown>).set(load_var, parsers[by]?.(text));
    return "success";
  }, modifiers);
}

/** The config that a task's `file` holds. */
export async function readConfig(options: Task, scope: Scope): Promise<TaskConfig> {
  const file = options.file ?? "";
  const text = await readFile(options.task, file, scope);
  const vars = new Map(Object.entries(options.vars ?? {}));
  const config = withVars(YAML.parse(text), vars, file) as {
    [name: string]: unknown;
    image_resource?: { source?: { repository?: string; tag?: unknown } };
    image?: string;
    run?: { path?: unknown };
  };
  if (typeof config?.run?.path !== "string") {
    throw new Error(`\`${file}\` is no task config: it has no \`run.path\``);
  }
  const { repository, tag } = config.image_resource?.source ?? {};
  const image = tag === undefined ? repository : `${repository}:${shown(tag)}`;
  const checked = { ...config, image: config.image ?? image } as unknown as TaskConfig;
  declareCaches(options.task, checked);
  return checked;
}

/** The text of a file, as a task of its own reads it. */
async function readFile(name: string, file: string, scope: Scope): Promise<string> {
  const [source = "", ...path] = file.split("/");
  const artifact = scope.artifacts.get(source);
  if (artifact === undefined) {
    throw new Error(`\`${file}\`: the artifact \`${source}\` comes from no earlier step`);
  }
  const result = await runtime.run({
    name: `${name}: read ${file}`,
    image: "busybox",
    command: { path: "cat", args: [["artifact", ...path].join("/")] },
    mounts: { artifact: artifact.volume },
    ...inTime(scope),
  });
  if (result.code !== 0) {
    throw new StepFailure(`cannot read \`${file}\`: ${result.stderr.trim() || result.message}`);
  }
  return result.stdout;
}

/** Replaces `((name))` by what the task's `vars` say. */
function withVars(value: unknown, vars: ReadonlyMap<string, unknown>, file: string): unknown {
  if (typeof value === "string") {
    const find = (name: string): unknown => {
      if (!vars.has(name)) {
        throw new Error(`\`${file}\`: the variable \`${name}\` has no value: add it to \`vars\``);
      }
      return vars.get(name);
    };
    const whole = /^\(\(([\w.-]+)\)\)$/.exec(value)?.[1];
    return whole !== undefined
      ? find(whole)
      : value.replace(/\(\(([\w.-]+)\)\)/g, (_, name: string) => shown(find(name)));
  }
  if (Array.isArray(value)) {
    return value.map((item) => withVars(item, vars, file));
  }
  return value !== null && typeof value === "object"
    ? Object.fromEntries(
      Object.entries(value).map(([name, field]) => [name, withVars(field, vars, file)]),
    )
    : value;
}
