// How steps end, and what ends them.

import type { Outcome, Scope, Step } from "ext:ci/plan/types.ts";

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
  if (reason instanceof Error && reason.name === "AbortError") {
    noteStop(scope);
    return "abort";
  }
  const end = ending(scope);
  if (typeof end === "string") {
    return end;
  }
  console.error(`${scope.job.name}: ${message}`);
  return reason instanceof StepFailure ? "failure" : "error";
}

/** What ends a task, and whether it may start although the run is to end. */
type Ending = Pick<RunOptions, "timeout" | "signal" | "cleanup">;

/** What ends a task that starts now; an outcome if it is too late for that. */
export function ending({ signal, deadline, cleanup }: Scope): "abort" | "failure" | Ending {
  if (signal.aborted) {
    return "abort";
  }
  if (deadline === Infinity) {
    return { signal, cleanup };
  }
  const left = deadline - Date.now();
  return left <= 0 ? "failure" : { signal, cleanup, timeout: left };
}

/** Runs a task of a step, if the step still may. */
export async function execute(scope: Scope, options: RunOptions): Promise<RunResult> {
  const end = ending(scope);
  if (typeof end === "string") {
    throw new StepFailure(end === "abort" ? "ended early" : "its time had passed before it started");
  }
  const result = await runtime.run({ ...options, ...end });
  if (result.status === "abort") {
    noteStop(scope);
  }
  return result;
}

/** Nothing of the pipeline has ended the task: so the run is about to end, and no step starts. */
function noteStop(scope: Scope): void {
  if (!scope.signal.aborted && Date.now() < scope.deadline) {
    scope.job.run.stop.abort();
  }
}

/** What several outcomes are as one. */
export function worst(outcomes: readonly Outcome[]): Outcome {
  const order = ["abort", "error", "failure"] as const;
  return order.find((outcome) => outcomes.includes(outcome)) ?? "success";
}
