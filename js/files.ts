// `runtime.artifact`, `runtime.readFile` and `runtime.hashFiles`.

import { core } from "ext:core/mod.js";
import { CallSite, type Entry } from "ext:ci/call_site.ts";
import {
  boolean,
  type Check,
  nonEmpty,
  optional,
  record,
  type Shape,
  string,
  systemValues,
  volumeName,
} from "ext:ci/checks.ts";
import { rejection } from "ext:ci/failures.ts";
import { Field } from "ext:ci/field.ts";
import { ops } from "ext:ci/ops.ts";

const artifactEntry: Entry = { name: "runtime.artifact", function: artifact };
const readEntry: Entry = { name: "runtime.readFile", function: readFile };
const hashEntry: Entry = { name: "runtime.hashFiles", function: hashFiles };

const volumeShape = { name: volumeName, path: string } satisfies Shape<Volume>;

/** The name of a volume. */
const volume: Check<Volume, string> = (field) => {
  if (field.value === null || typeof field.value !== "object") {
    throw field.expected("a volume");
  }
  return record(field, volumeShape).name;
};

const path = nonEmpty("a path such as `dist`");

const artifactShape = {
  name: nonEmpty("a name such as `dist`"),
  volume,
  path: optional(path),
} satisfies Shape<ArtifactOptions>;

const readShape = { bytes: optional(boolean) } satisfies Shape<ReadOptions>;

/** See the typings. */
export function artifact(options: ArtifactOptions): Promise<string> {
  const site = new CallSite(artifactEntry);
  return called(artifactEntry, site, () => {
    const { name, volume, path } = record(
      new Field<ArtifactOptions>(artifactEntry, options),
      artifactShape,
    );
    return ops.op_artifact_publish({ name, volume, path: path ?? ".", isOutput: false });
  });
}

/** See the typings. */
export function readFile(from: Volume, file: string, options?: { bytes?: false }): Promise<string>;
export function readFile(from: Volume, file: string, options: { bytes: true }): Promise<Uint8Array>;
export function readFile(
  from: Volume,
  file: string,
  options: ReadOptions = {},
): Promise<string | Uint8Array> {
  const site = new CallSite(readEntry);
  return called(readEntry, site, async () => {
    const { bytes } = record(new Field<ReadOptions>(readEntry, options, "options"), readShape);
    const request = {
      volume: volume(new Field<Volume>(readEntry, from, "volume")),
      path: path(new Field<string>(readEntry, file, "path")),
    };
    const content = await ops.op_file_read(request);
    // A copy, from the allocator whose limit the host sets.
    return bytes === true ? new Uint8Array(content) : core.decode(content);
  });
}

/** See the typings. */
export function hashFiles(patterns: readonly string[]): Promise<string> {
  const site = new CallSite(hashEntry);
  return called(hashEntry, site, () => {
    const field = new Field<readonly string[]>(hashEntry, patterns, "patterns");
    const checked = systemValues(field);
    if (checked.length === 0) {
      throw field.error("expected at least one path or glob, got an empty array");
    }
    return ops.op_files_hash(checked);
  });
}

/** What a call comes to. Its error has the place of the call. */
async function called<T>(entry: Entry, site: CallSite, call: () => Promise<T>): Promise<T> {
  let isAsked = false;
  try {
    const answer = call();
    isAsked = true;
    return await answer;
  } catch (error) {
    throw isAsked
      ? rejection(entry.name, site.adopt(error), site)
      : rejection(null, error, site);
  }
}
