// What any step may have. From the inside: timeout, attempts, across, hooks.

import { clock } from "ext:ci/plan/clock.ts";
import { addReport, caught, failed, newReport } from "ext:ci/plan/outcomes.ts";
import { together } from "ext:ci/plan/slots.ts";
import type { Across, Hooks, Parallel, Scope, Step } from "ext:ci/plan/types.ts";
import { resolved, shown, withVar } from "ext:ci/plan/vars.ts";

/** Ends the step after so many milliseconds, as a failure. */
export function timeout(after: number, step: Step): Step {
  return (scope) => {
    const deadline = clock.now() + after;
    return step(deadline < scope.deadline ? { ...scope, deadline, timeout: after } : scope);
  };
}

/** Tries the step so often until it succeeds. Only what the last attempt has to say counts. */
export function attempts(count: number, step: Step): Step {
  return async (scope) => {
    for (let attempt = 1;; attempt++) {
      const isLast = attempt >= count;
      const report = newReport();
      const failing = isLast ? scope.failing : () => undefined;
      const willRetry = scope.willRetry || !isLast;
      const outcome = await caught(step, { ...scope, report, failing, willRetry });
      if (isLast || outcome === "success" || outcome === "abort") {
        addReport(scope.report, report);
        return outcome;
      }
    }
  };
}

/**
 * The most combinations of an `across` with those around it: what is more was not meant, and would never
 * end.
 */
export const MOST_COMBINATIONS = 100_000;

/** Runs the step for each combination of the variables' values. */
export function across(
  [variable, ...others]: readonly Across[],
  step: Step,
  options: Pick<Parallel, "fail_fast"> = {},
): Step {
  if (variable === undefined) {
    return step;
  }
  return async (scope) => {
    const values = resolved(variable.values, scope.vars);
    if (!Array.isArray(values)) {
      return failed(scope, `across: the values of \`${variable.var}\` are no list`);
    }
    const combinations = scope.combinations * values.length;
    if (combinations > MOST_COMBINATIONS) {
      const most = `more than ${MOST_COMBINATIONS} combinations`;
      return failed(scope, `across: the values up to \`${variable.var}\` have ${most}`);
    }
    const inner = across(others, step, options);
    const width = variable.max_in_flight === "all" ? Infinity : variable.max_in_flight ?? 1;
    return together(scope, values, width, options.fail_fast ?? false, (value, scope) => {
      const text = shown(value);
      const named = withVar(scope, variable.var, value);
      const env = { ...scope.env, [variable.var]: text };
      const artifacts = new Map(scope.artifacts);
      const suffix = `${scope.suffix}-${text}`;
      return caught(inner, { ...named, artifacts, env, suffix, combinations });
    });
  };
}

/**
 * Runs the hooks after the step. They never turn a failure into a success, and they run to their
 * end even where the step was ended early, be it with the whole run.
 */
export function hooked(step: Step, hooks: Hooks): Step {
  const { ensure, on_success, on_failure, on_error, on_abort } = hooks;
  return async (scope) => {
    const unhurried: Scope = {
      ...scope,
      signal: new AbortController().signal,
      deadline: Infinity,
      cleanup: true,
    };
    let outcome = await caught(step, scope);
    if (outcome === "success" && on_success !== undefined) {
      outcome = await caught(on_success, scope);
    }
    if (outcome !== "success") {
      // The hooks cannot change that, and nothing new is to start while they run.
      scope.failing(outcome);
    }
    const hook = { success: undefined, failure: on_failure, error: on_error, abort: on_abort };
    await caught(hook[outcome], unhurried);
    const last = await caught(ensure, unhurried);
    return outcome === "success" ? last : outcome;
  };
}
