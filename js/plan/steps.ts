// Steps that are made of other steps.

import { caught, modified } from "ext:ci/plan/modifiers.ts";
import { together } from "ext:ci/plan/slots.ts";
import type { Modifiers, Step } from "ext:ci/plan/types.ts";

/** One after the other, until one does not succeed. */
export function sequence(steps: readonly Step[], modifiers?: Modifiers): Step {
  return modified(async (scope) => {
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
  }, modifiers);
}

/** All at the same time. */
export function inParallel(
  { steps, limit, fail_fast }: {
    readonly steps: readonly Step[];
    readonly limit?: number | undefined;
    readonly fail_fast?: boolean | undefined;
  },
  modifiers?: Modifiers,
): Step {
  return modified(
    (scope) => together(scope, steps, limit ?? Infinity, fail_fast ?? false, caught),
    modifiers,
  );
}

/** Succeeds whatever the steps do, unless they were ended early. Its hooks see what they did. */
export function attempt(steps: readonly Step[], modifiers?: Modifiers): Step {
  const tried = sequence(steps, modifiers);
  return async (scope) => {
    const outcome = await tried(scope);
    return outcome === "abort" && scope.signal.aborted ? "abort" : "success";
  };
}
