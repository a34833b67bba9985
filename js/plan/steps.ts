// Steps that are made of other steps.

import { addReport, caught, newReport } from "ext:ci/plan/outcomes.ts";
import { together } from "ext:ci/plan/slots.ts";
import type { Parallel, RunMessage, Step } from "ext:ci/plan/types.ts";

/** One after the other, until one does not succeed. */
export function sequence(steps: readonly Step[]): Step {
  return async (scope) => {
    for (const step of steps) {
      if (scope.signal.aborted) {
        return "abort";
      }
      const outcome = await caught(step, scope);
      if (outcome !== "success") {
        return outcome;
      }
    }
    return "success";
  };
}

/** All at the same time. */
export function inParallel(steps: readonly Step[], { limit, fail_fast }: Parallel = {}): Step {
  return (scope) => together(scope, steps, limit ?? Infinity, fail_fast ?? false, caught);
}

/** A step that cannot be run, which is an error when it is reached. */
export function refused(reason: string): Step {
  return () => Promise.reject(new Error(reason));
}

/** A message to a prototype. There are none. */
export function runMessage({ run, type }: RunMessage): Step {
  return refused(`\`${run}\`: the prototype \`${type}\` cannot be run here`);
}

/** Succeeds whatever the step does, unless it was ended early. Hooks of the step see what it did. */
export function attempt(step: Step): Step {
  return async (scope) => {
    const report = newReport();
    const outcome = await caught(step, { ...scope, report, failing: () => undefined });
    const ended = outcome === "abort" && scope.signal.aborted;
    // What failed in here is not why the job did. An assert holds wherever it stands.
    addReport(scope.report, ended ? report : { ...report, problems: [] });
    return ended ? "abort" : "success";
  };
}
