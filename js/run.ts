// `runtime.run`.

import { CallSite, type Entry } from "ext:ci/call_site.ts";
import { nonEmpty, record, type Shape } from "ext:ci/checks.ts";
import { rejection } from "ext:ci/failures.ts";
import { Field } from "ext:ci/field.ts";
import { ops } from "ext:ci/ops.ts";
import { commandShape, containerRequest, containerShape, execute } from "ext:ci/task.ts";

const entry: Entry = { name: "runtime.run", function: run };

const shape = {
  name: nonEmpty("a task name"),
  ...containerShape,
  ...commandShape,
} satisfies Shape<RunOptions>;

/** See the typings. Not `async`, so that stacks can be cut where the pipeline called it. */
export function run(options: RunOptions): Promise<RunResult> {
  return start(options, null, new CallSite(entry));
}

/** The same for a step of a pipeline in YAML, by its number. */
export function runInStep(options: RunOptions, step: number): Promise<RunResult> {
  return start(options, step, new CallSite(entry));
}

function start(options: RunOptions, step: number | null, site: CallSite): Promise<RunResult> {
  try {
    const checked = record(new Field<RunOptions>(entry, options), shape);
    const container = containerRequest(checked);
    return execute(
      checked.name,
      checked,
      site,
      (execution) =>
        ops.op_task_start({ name: checked.name, container, execution: { ...execution, step } }),
    );
  } catch (error) {
    return Promise.reject(rejection(null, error, site));
  }
}
