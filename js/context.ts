// The global `pipelineContext`.

import { ops } from "ext:ci/ops.ts";

/** What the host knows about the run, as a value that nobody can change. */
export function pipelineContext(): PipelineContext {
  const { args, ...context } = ops.op_pipeline_context();
  return Object.freeze({ ...context, args: Object.freeze(args) });
}
