// Files in artifacts: a task's config, and the values of variables.

import { declareCaches } from "ext:ci/plan/caches.ts";
import { checkedConfig } from "ext:ci/plan/config.ts";
import { execute, plainImage, StepFailure } from "ext:ci/plan/outcomes.ts";
import { slotted } from "ext:ci/plan/slots.ts";
import type { Artifact, ConfigFile, LoadVar, Scope, SetPipeline, Step } from "ext:ci/plan/types.ts";
import { filled, parseJson, resolved } from "ext:ci/plan/vars.ts";

/** Reads a file into a variable, for the steps after this one. */
export function loadVar(options: LoadVar): Step {
  return async (scope) => {
    const { load_var, file, format } = resolved(options, scope.vars);
    const text = await readFile(load_var, file, scope);
    const by = format ?? /\.(json|ya?ml)$/.exec(file)?.[1] ?? "trim";
    scope.vars.set(load_var, parsed(text, file, by));
    return "success";
  };
}

/** The config that a file in an artifact holds. */
export function fromFile(given: string): ConfigFile {
  return async (options, scope) => {
    const file = resolved(given, scope.vars);
    const text = await readFile(options.task, file, scope);
    const vars = { ...scope.job.run.options.vars, ...options.vars };
    const value = filled(parsed(text, file, "yaml"), vars, file);
    const config = checkedConfig(resolved(value, scope.vars), file);
    declareCaches(options.task, config.caches);
    return config;
  };
}

/** Checks the pipeline that a file holds. There is nothing here that would keep it. */
export function setPipeline(options: SetPipeline): Step {
  return async (scope) => {
    const { set_pipeline, file, vars, var_files = [], instance_vars } = resolved(options, scope.vars);
    const values: Record<string, unknown> = {};
    for (const name of var_files) {
      const text = await readFile(set_pipeline, name, scope);
      Object.assign(values, parsed(text, name, "yaml"));
    }
    const text = await readFile(set_pipeline, file, scope);
    const given = { ...values, ...vars, ...instance_vars };
    const wrong = scope.job.run.options.local?.check(file, text, given) ?? null;
    if (wrong !== null) {
      throw new StepFailure(`\`${file}\` is no pipeline:\n${wrong}`);
    }
    return "success";
  };
}

/** An artifact that the command line gives, for a step that no earlier one has made it for. */
export async function fromCommandLine(name: string, scope: Scope): Promise<Artifact | undefined> {
  const found = await scope.job.run.options.local?.input(name, scope.job);
  if (found !== undefined) {
    scope.artifacts.set(name, found);
  }
  return found;
}

/** Where the volumes of an artifact are that is mounted at a path. */
export function mounted(path: string, { volume, caches = [] }: Artifact): [string, Volume][] {
  const below = caches.map(([name, cache]): [string, Volume] => [
    path === "." ? name : `${path}/${name}`,
    cache,
  ]);
  return [[path, volume], ...below];
}

/** The text of a file, as a task of its own reads it. */
async function readFile(name: string, file: string, scope: Scope): Promise<string> {
  const [source = "", ...path] = file.split("/");
  // Without a wait in between: steps take their slots in the order in which they come here.
  const artifact = scope.artifacts.get(source) ?? await fromCommandLine(source, scope);
  if (artifact === undefined) {
    throw new Error(`\`${file}\`: the artifact \`${source}\` comes from no earlier step`);
  }
  const result = await slotted(scope, () =>
    execute(scope, {
      name: `${name}: read ${file}`,
      image: plainImage(),
      command: { path: "cat", args: [["artifact", ...path].join("/")] },
      mounts: Object.fromEntries(mounted("artifact", artifact)),
    }));
  if (result.code !== 0) {
    throw new Error(`cannot read \`${file}\`: ${result.stderr.trim() || result.message}`);
  }
  if (result.truncated) {
    throw new Error(`cannot read \`${file}\`: it has more than 16 MiB`);
  }
  return result.stdout;
}

function parsed(text: string, file: string, format: string): unknown {
  try {
    switch (format) {
      case "json":
        return parseJson(text);
      case "yaml":
      case "yml":
        return parseJson(YAML.asJSON(text));
      case "raw":
        return text;
      default:
        return text.trim();
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`\`${file}\` is not ${format.toUpperCase()}: ${reason}`);
  }
}
