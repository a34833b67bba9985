// The config of a task that comes from a file, and so is known no earlier than the task runs.

import type { TaskConfig } from "ext:ci/plan/types.ts";
import { isNumber, shown } from "ext:ci/plan/vars.ts";

/** The config, in the one spelling that tasks take. Throws when it is none. */
export function checkedConfig(value: unknown, file: string): TaskConfig {
  const config = mapping(value, `\`${file}\``, [
    "platform",
    "rootfs_uri",
    "image_resource",
    "image",
    "inputs",
    "outputs",
    "caches",
    "params",
    "run",
    "container_limits",
  ]);
  // As in Concourse, what is within a field may have fields of other names.
  const within = (name: string) => mapping(config[name] ?? {}, `\`${name}\` of \`${file}\``);
  const entries = (name: string, key: string) => {
    const items = config[name] ?? [];
    if (!Array.isArray(items)) {
      throw new Error(`\`${name}\` of \`${file}\` is no list`);
    }
    return items.map((item) => {
      const given = mapping(item, `\`${name}\` of \`${file}\``);
      const texts = Object.entries(given).map(([key, field]) => [
        key,
        isNumber(field) ? shown(field) : field,
      ]);
      const entry = Object.fromEntries(texts) as Readonly<Record<string, unknown>>;
      if (typeof entry[key] !== "string") {
        throw new Error(`\`${name}\` of \`${file}\`: an entry has no \`${key}\``);
      }
      return entry;
    });
  };
  const run = within("run");
  const path = textField(run["path"], "run.path", file);
  if (!Array.isArray(run["args"] ?? [])) {
    throw new Error(`\`run.args\` of \`${file}\` is no list`);
  }
  const platform = config["platform"] ?? "linux";
  if (platform !== "linux") {
    const named = `tasks of the platform \`${shown(platform)}\` cannot be run`;
    throw new Error(`\`${file}\`: ${named}: only \`linux\` can`);
  }
  const resource = config["image_resource"] ? within("image_resource") : undefined;
  if (config["image"] && resource) {
    throw new Error(`\`${file}\` has an \`image\` and an \`image_resource\`: remove one of the two`);
  }
  const params = Object.entries(mapping(config["params"] ?? {}, `\`params\` of \`${file}\``));
  const { cpu, memory } = within("container_limits");
  return {
    image: textField(config["image"], "image", file) ?? rootfs(config["rootfs_uri"], file),
    image_resource: resource && { ...resource, type: resource["type"] ?? "" },
    inputs: entries("inputs", "name"),
    outputs: entries("outputs", "name"),
    caches: entries("caches", "path"),
    params: Object.fromEntries(params.map(([name, value]) => [name, shown(value ?? "")])),
    run: { ...run, path },
    container_limits: config["container_limits"]
      ? { cpu: shares(cpu, file), memory: bytes(memory, file) }
      : undefined,
  } as unknown as TaskConfig;
}

/** A text, of which an empty one says nothing. */
function textField(value: unknown, field: string, file: string): string | undefined {
  if (value === undefined || value === null || value === "") {
    return undefined;
  }
  if (typeof value !== "string" && !isNumber(value)) {
    throw new Error(`\`${field}\` of \`${file}\` is no text`);
  }
  return shown(value);
}

/** The image of `docker:///repository#tag`. Other file systems would be those of a worker. */
function rootfs(value: unknown, file: string): string | undefined {
  const uri = textField(value, "rootfs_uri", file);
  if (uri === undefined) {
    return undefined;
  }
  const [, name] = /^docker:\/\/\/*(.+)$/.exec(uri) ?? [];
  if (name === undefined) {
    throw new Error(`\`${file}\`: the file system \`${uri}\` is not on this machine: name an image`);
  }
  return name.replace("#", ":");
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

/** Shares of a processor. A fraction is left out, and 0 sets no bound. */
function shares(value: unknown, file: string): number | undefined {
  if (value === undefined || value === null) {
    return undefined;
  }
  const count = isNumber(value) ? Math.trunc(Number(shown(value))) : NaN;
  if (!(count >= 0 && Number.isSafeInteger(count))) {
    const expected = "expected a number of shares such as `1024` as `cpu`";
    throw new Error(`\`${file}\`: ${expected}, got \`${shown(value)}\``);
  }
  return count > 0 ? count : undefined;
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
  const found = Number(count) * 1024 ** "_kmgt".indexOf(unit.toLowerCase() || "_");
  return found > 0 ? found : undefined;
}
