// Files in artifacts: a task's config, and the values of variables.

import { declareCaches } from "ext:ci/plan/caches.ts";
import { checkedConfig } from "ext:ci/plan/config.ts";
import { execute } from "ext:ci/plan/outcomes.ts";
import { slotted } from "ext:ci/plan/slots.ts";
import type { Artifact, ConfigFile, LoadVar, Scope, Step } from "ext:ci/plan/types.ts";
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
    const value = filled(parsed(text, file, "yaml"), options.vars ?? {}, file);
    const config = checkedConfig(resolved(value, scope.vars), file);
    declareCaches(options.task, config.caches);
    return config;
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
      image: "busybox",
      command: { path: "cat", args: [["artifact", ...path].join("/")] },
      mounts: { artifact: artifact.volume },
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
