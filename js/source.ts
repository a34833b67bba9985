// `runtime.source`.

import { CallSite, type Entry } from "ext:ci/call_site.ts";
import { boolean, nonEmpty, optional, record, type Shape, systemValues } from "ext:ci/checks.ts";
import { rejection } from "ext:ci/failures.ts";
import { Field } from "ext:ci/field.ts";
import { ops } from "ext:ci/ops.ts";
import type { SourceRequest } from "ext:ci/ops.gen.ts";

const entry: Entry = { name: "runtime.source", function: source };

const shape = {
  input: optional(nonEmpty("the name of an `--input`")),
  path: optional(nonEmpty("a path such as `web`")),
  include: optional(systemValues),
  exclude: optional(systemValues),
  ignored: optional(boolean),
  git: optional(boolean),
} satisfies Shape<SourceOptions>;

/** See the typings. Not `async`, so that stacks can be cut where the pipeline called it. */
export function source(options: SourceOptions = {}): Promise<Volume> {
  const site = new CallSite(entry);
  try {
    const { include, exclude, ignored, git, ...where } = record(
      new Field<SourceOptions>(entry, options),
      shape,
    );
    const request = {
      ...where,
      include: include ?? [],
      exclude: exclude ?? [],
      ignored: ignored ?? false,
      git: git ?? true,
    };
    return imported(request, site);
  } catch (error) {
    return Promise.reject(rejection(null, error, site));
  }
}

async function imported(request: SourceRequest, site: CallSite): Promise<Volume> {
  try {
    return Object.freeze({ ...await ops.op_source_import(request) });
  } catch (error) {
    throw rejection(entry.name, site.adopt(error), site);
  }
}
