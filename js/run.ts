// `runtime.run`.

import { CallSite, type Entry } from "ext:ci/call_site.ts";
import { nonEmpty, record, type Shape } from "ext:ci/checks.ts";
import { rejection } from "ext:ci/failures.ts";
import { Field } from "ext:ci/field.ts";
import { ops } from "ext:ci/ops.ts";
import type { ExecutionRequest } from "ext:ci/ops.gen.ts";
import { commandShape, containerRequest, containerShape, execute } from "ext:ci/task.ts";

const entry: Entry = { name: "runtime.run", function: run };

const shape = {
  name: nonEmpty("a task name"),
  ...containerShape,
  ...commandShape,
} satisfies Shape<RunFields>;

/** See the typings. Not `async`, so that stacks can be cut where the pipeline called it. */
export function run(options: RunOptions): Promise<RunResult> {
  return start(options, {}, new CallSite(entry));
}

/**
 * The same for a step of a pipeline in YAML, by its number. Its timeout is what is left of the step's, `of`,
 * in which waiting counts.
 */
export function runInStep(options: RunOptions, step: number, of?: number): Promise<RunResult> {
  return start(options, { step, leftOfMs: of ?? null }, new CallSite(entry));
}

function start(
  options: RunOptions,
  ofStep: Partial<Pick<ExecutionRequest, "step" | "leftOfMs">>,
  site: CallSite,
): Promise<RunResult> {
  try {
    const field = new Field<RunFields>(entry, options);
    const checked = record(field, shape);
    const container = containerRequest(checked);
    return execute(
      checked.name,
      field,
      checked,
      site,
      (execution) =>
        ops.op_task_start({ name: checked.name, container, execution: { ...execution, ...ofStep } }),
    );
  } catch (error) {
    return Promise.reject(rejection(null, error, site));
  }
}
