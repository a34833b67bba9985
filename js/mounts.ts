// The two forms of `mounts`, and the paths in them.

import {
  boolean,
  Letters,
  list,
  nonEmpty,
  optional,
  record,
  type Shape,
  string,
  volumeName,
} from "ext:ci/checks.ts";
import { type Field, quoted } from "ext:ci/field.ts";
import type { MountRequest } from "ext:ci/ops.gen.ts";

/** A mount, and the path of the field that says where it is. */
interface Placed extends MountRequest {
  readonly field: string;
}

/** Either form as a list. Refuses a path that leads out of its directory or is used twice. */
export function mounts(field: Field<Mounts>): MountRequest[] {
  if (field.value === null || typeof field.value !== "object") {
    throw field.expected("array or object");
  }
  const letters = new Letters();
  const placed = Array.isArray(field.value)
    ? list<Mount, Placed>((mount) => listed(mount, letters))(field as Field<readonly Mount[]>)
    : Object.keys(field.value).map((path) => keyed(field, path, letters));

  const fields = new Map<string, string>();
  for (const mount of placed) {
    const other = fields.get(mount.path);
    if (other !== undefined) {
      const problem = `expected a path of its own, ${quoted(mount.path)} is taken by \`${other}\``;
      throw field.error(problem, mount.field);
    }
    fields.set(mount.path, mount.field);
  }
  return placed.map(({ volume, path, readOnly }) => ({ volume, path, readOnly }));
}

/** `{ name: cache.name, path: "node_modules" }` */
function listed(field: Field<Mount>, letters: Letters): Placed {
  const path = (field: Field<string>) => {
    const path = nonEmptyPath(field);
    letters.add(field, path);
    return normalized(field, path);
  };
  const shape = { name: volumeName, path, readOnly: optional(boolean) } satisfies Shape<Mount>;
  const mount = record(field, shape);
  const { name: volume, readOnly } = mount;
  return { volume, path: mount.path, readOnly: readOnly ?? false, field: field.keyPath("path") };
}

const volumeShape = { name: volumeName, path: string } satisfies Shape<Volume>;

function volume(field: Field<Volume>): string {
  if (field.value === null || typeof field.value !== "object") {
    throw field.expected("a volume from `runtime.createVolume`");
  }
  return record(field, volumeShape).name;
}

/** `node_modules: cache`, or `node_modules: { volume: cache, readOnly: true }` */
function keyed(mounts: Field<Mounts>, path: string, letters: Letters): Placed {
  letters.add(mounts, path);
  const field = mounts.key<Volume | VolumeMount>(path);
  const at = { path: normalized(field, path), field: field.path };
  if (!isVolumeMount(field.value)) {
    return { volume: volume(field as Field<Volume>), readOnly: false, ...at };
  }
  const shape = { volume, readOnly: optional(boolean) } satisfies Shape<VolumeMount>;
  const mount = record(field as Field<VolumeMount>, shape);
  return { volume: mount.volume, readOnly: mount.readOnly ?? false, ...at };
}

function isVolumeMount(value: unknown): boolean {
  return typeof value === "object" && value !== null && "volume" in value;
}

const nonEmptyPath = nonEmpty("a path such as `node_modules`");

/** The path without `.`, `..` and empty parts, so that two spellings of it are one path. */
function normalized(field: Field, path: string): string {
  if (path.includes("\0")) {
    throw field.error("expected a path without NUL characters");
  }
  if (path === "") {
    throw below(field, "", path);
  }
  const root = path.startsWith("/") ? "/" : "";
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") {
      if (parts.pop() === undefined) {
        throw below(field, root, path);
      }
    } else if (part !== "" && part !== ".") {
      parts.push(part);
    }
  }
  if (parts.length === 0) {
    if (root === "/") {
      throw below(field, root, path);
    }
    return ".";
  }
  return root + parts.join("/");
}

function below(field: Field, root: string, path: string): TypeError {
  const directory = root === "" ? "the task's directory" : "`/`";
  return field.error(`expected a path below ${directory}, got ${quoted(path)}`);
}
