// What any step may have: hooks around attempts, attempts around a timeout.

import { together } from "ext:ci/plan/slots.ts";
import type { Across, Hooks, Modifiers, Outcome, Scope, Step } from "ext:ci/plan/types.ts";
import { resolved, shown, withVar } from "ext:ci/plan/vars.ts";

/** The step with its modifiers. From the inside: timeout, attempts, across, hooks. */
export function modified(step: Step, modifiers: Modifiers = {}): Step {
  const { across = [], attempts = 1, fail_fast = false, timeout } = modifiers;
  const once = timeout === undefined ? step : within(timeout, step);
  const tried = attempts === 1 ? once : again(attempts, once);
  const all = across.length === 0 ? tried : forEach(across, fail_fast, tried);
  return hooked(all, modifiers);
}

/**
 * Runs the hooks after the step. They never turn a failure into a success, and they run to their
 * end even where the step was ended early.
 */
export function hooked(step: Step, hooks: Hooks): Step {
  const { ensure, on_success, on_failure, on_error, on_abort } = hooks;
  if (!(ensure ?? on_success ?? on_failure ?? on_error ?? on_abort)) {
    return step;
  }
  return async (scope) => {
    const unhurried = { ...scope, signal: new AbortController().signal, deadline: Infinity };
    let outcome = await caught(step, scope);
    if (outcome === "success" && on_success !== undefined) {
      outcome = await caught(on_success, scope);
    }
    const hook = { success: undefined, failure: on_failure, error: on_error, abort: on_abort };
    await caught(hook[outcome], unhurried);
    const last = await caught(ensure, unhurried);
    return outcome === "success" ? last : outcome;
  };
}

/** What a step throws when something in it failed, rather than could not be run. */
export class StepFailure extends Error {}

/** Turns what a step throws into its outcome. */
export async function caught(step: Step | undefined, scope: Scope): Promise<Outcome> {
  try {
    return await step?.(scope) ?? "success";
  } catch (error) {
    return failed(scope, error);
  }
}

/** Tells why something did not succeed, and what that is as an outcome. */
export function failed(scope: Scope, reason: unknown, prefix = ""): Outcome {
  const message = prefix + (reason instanceof Error ? reason.message : String(reason));
  scope.job.problems.push(message);
  const end = ending(scope);
  if (typeof end === "string") {
    return end;
  }
  console.error(`${scope.job.name}: ${message}`);
  return reason instanceof StepFailure ? "failure" : "error";
}

/** What ends a task that starts now; an outcome if it is too late for that. */
export function ending(scope: Scope): "abort" | "failure" | Pick<RunOptions, "timeout" | "signal"> {
  if (scope.signal.aborted) {
    return "abort";
  }
  if (scope.deadline === Infinity) {
    return { signal: scope.signal };
  }
  const timeout = scope.deadline - Date.now();
  return timeout <= 0 ? "failure" : { signal: scope.signal, timeout };
}

/** The same for a task whose result a step needs. */
export function inTime(scope: Scope): Pick<RunOptions, "timeout" | "signal"> {
  const end = ending(scope);
  if (typeof end === "string") {
    throw new StepFailure(end === "abort" ? "ended early" : "no time left");
  }
  return end;
}

function within(timeout: number, step: Step): Step {
  return (scope) => step({ ...scope, deadline: Math.min(scope.deadline, Date.now() + timeout) });
}

function again(attempts: number, step: Step): Step {
  return async (scope) => {
    let outcome = await caught(step, scope);
    for (let attempt = 1; attempt < attempts; attempt++) {
      if (outcome === "success" || outcome === "abort") {
        break;
      }
      outcome = await caught(step, scope);
    }
    return outcome;
  };
}

/** Runs the step for each value of the first variable, and in there for those of the others. */
function forEach([variable, ...others]: readonly Across[], failFast: boolean, step: Step): Step {
  if (variable === undefined) {
    return step;
  }
  const inner = forEach(others, failFast, step);
  return async (scope) => {
    const values = resolved(variable.values, scope.vars);
    if (!Array.isArray(values)) {
      return failed(scope, `across: the values of \`${variable.var}\` are no list`);
    }
    const width = variable.max_in_flight === "all" ? Infinity : variable.max_in_flight ?? 1;
    return together(scope, values, width, failFast, (value, scope) => {
      const text = shown(value);
      const named = withVar(scope, variable.var, value);
      const env = { ...scope.env, [variable.var]: text };
      const artifacts = new Map(scope.artifacts);
      return caught(inner, { ...named, artifacts, env, suffix: `${scope.suffix}-${text}` });
    });
  };
}
