// The global `runtime`.

import { artifact, hashFiles, readFile } from "ext:ci/files.ts";
import { run } from "ext:ci/run.ts";
import { startSandbox } from "ext:ci/sandbox.ts";
import { secret } from "ext:ci/secret.ts";
import { source } from "ext:ci/source.ts";
import { createVolume } from "ext:ci/volume.ts";

// Frozen, as every object of the API is: what a pipeline calls is what its author read about, and
// no package that it imports can put something else in its place.
export const runtime: Runtime = Object.freeze({
  artifact,
  createVolume,
  hashFiles,
  readFile,
  run,
  secret,
  source,
  startSandbox,
});
