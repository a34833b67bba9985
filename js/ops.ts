// The host's side of the runtime.
//
// The host registers its ops when a run starts, long after these modules were evaluated into the
// snapshot. So this is the one name to reach them by, and only from inside of functions: an op that
// is taken out of it while a module is evaluated is `undefined`.

import { core } from "ext:core/mod.js";
import type { Ops } from "ext:ci/ops.gen.ts";

export const ops = core.ops as Ops;
