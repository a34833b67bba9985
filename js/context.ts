// The global `pipelineContext`.

import { ops } from "ext:ci/ops.ts";

/** What the host knows about the run, as a value that nobody can change. */
export function pipelineContext(): PipelineContext {
  const { args, ...context } = ops.op_pipeline_context();
  const { runId, pipelineId } = context;
  const old = { runID: runId, pipelineID: pipelineId };
  return Object.freeze({ ...context, ...old, args: Object.freeze(args) });
}
