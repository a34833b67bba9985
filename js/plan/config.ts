// The config of a task that comes from a file, and so is known no earlier than the task runs.

import type { TaskConfig } from "ext:ci/plan/types.ts";
import { isNumber, shown } from "ext:ci/plan/vars.ts";

/** The config, in the one spelling that tasks take. Throws when it is none. */
export function checkedConfig(value: unknown, file: string): TaskConfig {
  const config = mapping(value, `\`${file}\``, [
    "platform",
    "image_resource",
    "image",
    "inputs",
    "outputs",
    "caches",
    "params",
    "run",
    "container_limits",
  ]);
  const within = (name: string, known: readonly string[]) =>
    mapping(config[name] ?? {}, `\`${name}\` of \`${file}\``, known);
  const entries = (name: string, known: readonly string[]) => {
    const items = config[name] ?? [];
    if (!Array.isArray(items)) {
      throw new Error(`\`${name}\` of \`${file}\` is no list`);
    }
    return items.map((item) => {
      const given = mapping(item, `\`${name}\` of \`${file}\``, known);
      const texts = Object.entries(given).map(([key, field]) => [
        key,
        isNumber(field) ? shown(field) : field,
      ]);
      const entry = Object.fromEntries(texts) as Readonly<Record<string, unknown>>;
      if (typeof entry[known[0] ?? ""] !== "string") {
        throw new Error(`\`${name}\` of \`${file}\`: an entry has no \`${known[0]}\``);
      }
      return entry;
    });
  };
  const run = within("run", ["path", "args", "dir", "user"]);
  if (typeof run["path"] !== "string") {
    throw new Error(`\`${file}\` is no task config: it has no \`run.path\``);
  }
  if (!Array.isArray(run["args"] ?? [])) {
    throw new Error(`\`run.args\` of \`${file}\` is no list`);
  }
  const platform = config["platform"] ?? "linux";
  if (platform !== "linux") {
    throw new Error(`\`${file}\`: tasks of the platform \`${shown(platform)}\` cannot be run`);
  }
  const resource = within("image_resource", ["type", "source", "params", "version", "name"]);
  const source = resource["source"] as { repository?: string; tag?: unknown } | undefined;
  const tag = source?.tag === undefined ? "" : `:${shown(source.tag)}`;
  const repository = source?.repository && source.repository + tag;
  const params = Object.entries(mapping(config["params"] ?? {}, `\`params\` of \`${file}\``));
  const { cpu, memory } = within("container_limits", ["cpu", "memory"]);
  return {
    image: config["image"] ?? repository,
    inputs: entries("inputs", ["name", "path", "optional"]),
    outputs: entries("outputs", ["name", "path"]),
    caches: entries("caches", ["path", "scope"]),
    params: Object.fromEntries(params.map(([name, value]) => [name, shown(value ?? "")])),
    run,
    container_limits: config["container_limits"]
      ? { cpu: shares(cpu, file), memory: bytes(memory, file) }
      : undefined,
  } as unknown as TaskConfig;
}

function mapping(
  value: unknown,
  what: string,
  known?: readonly string[],
): Readonly<Record<string, unknown>> {
  if (value === null || typeof value !== "object" || Array.isArray(value) || isNumber(value)) {
    throw new Error(`${what}: expected a mapping`);
  }
  const unknown = known && Object.keys(value).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new Error(`${what}: unknown field \`${unknown}\`; known are \`${known?.join("`, `")}\``);
  }
  return value as Readonly<Record<string, unknown>>;
}

/** Shares of a processor: a number from 1. */
function shares(value: unknown, file: string): number | undefined {
  if (value === undefined || value === null) {
    return undefined;
  }
  const count = isNumber(value) ? Number(shown(value)) : NaN;
  if (!(count >= 1 && Number.isSafeInteger(count))) {
    throw new Error(`\`${file}\`: expected a whole number from 1 as \`cpu\`, got \`${shown(value)}\``);
  }
  return count;
}

/** Bytes: a number, or one with a unit such as `512MB`. */
function bytes(value: unknown, file: string): number | undefined {
  if (value === undefined || value === null) {
    return undefined;
  }
  const [, count, unit = ""] = /^([0-9]+)\s*([kmgt]?)i?b?$/i.exec(shown(value)) ?? [];
  if (count === undefined) {
    throw new Error(`\`${file}\`: expected a size such as \`512MB\`, got \`${shown(value)}\``);
  }
  return Number(count) * 1024 ** "_kmgt".indexOf(unit.toLowerCase() || "_");
}
