// What the log is told of jobs and steps.

import { ops } from "ext:ci/ops.ts";
import type { PlanEvent } from "ext:ci/ops.gen.ts";
import { isNotStarted, StepFailure } from "ext:ci/plan/outcomes.ts";
import type { Outcome, Step } from "ext:ci/plan/types.ts";

export function report(event: PlanEvent): void {
  ops.op_plan_event(event);
}

/** Reports when a step starts and how it ends. `action` is its key. */
export function reported(action: string, name: string, step: Step): Step {
  return async (scope) => {
    const { job, attempt, suffix } = scope;
    const number = job.run.nextStep();
    report({
      kind: "step_started",
      job: job.name,
      step: number,
      action,
      name: name + suffix,
      attempt,
    });
    let status: Outcome = "error";
    try {
      status = await step({ ...scope, step: number });
      return status;
    } catch (error) {
      status = isNotStarted(error) ? "abort" : error instanceof StepFailure ? "failure" : "error";
      throw error;
    } finally {
      report({ kind: "step_finished", job: job.name, step: number, status });
    }
  };
}
