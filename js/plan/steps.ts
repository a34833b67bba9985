// Steps that are made of other steps.

import { caught } from "ext:ci/plan/outcomes.ts";
import { together } from "ext:ci/plan/slots.ts";
import type { Parallel, Step } from "ext:ci/plan/types.ts";

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

/** Succeeds whatever the step does, unless it was ended early. Hooks of the step see what it did. */
export function attempt(step: Step): Step {
  return async (scope) => {
    const outcome = await caught(step, scope);
    return outcome === "abort" && scope.signal.aborted ? "abort" : "success";
  };
}
