// `runtime.createVolume`.

import { CallSite, type Entry } from "ext:ci/call_site.ts";
import { optional, record, type Shape, size, volumeName } from "ext:ci/checks.ts";
import { rejection } from "ext:ci/failures.ts";
import { Field } from "ext:ci/field.ts";
import { ops } from "ext:ci/ops.ts";
import type { VolumeRequest } from "ext:ci/ops.gen.ts";

const entry: Entry = { name: "runtime.createVolume", function: createVolume };

const shape = {
  name: optional(volumeName),
  size: optional(size),
} satisfies Shape<VolumeOptions>;

/** See the typings. Not `async`, so that stacks can be cut where the pipeline called it. */
export function createVolume(options: VolumeOptions = {}): Promise<Volume> {
  const site = new CallSite(entry);
  try {
    return created(record(new Field<VolumeOptions>(entry, options), shape), site);
  } catch (error) {
    return Promise.reject(rejection(null, error, site));
  }
}

async function created(request: VolumeRequest, site: CallSite): Promise<Volume> {
  try {
    return Object.freeze({ ...await ops.op_volume_create(request) });
  } catch (error) {
    throw rejection(entry.name, site.adopt(error), site);
  }
}
