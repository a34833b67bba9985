// How steps end, and what ends them.

import { clock } from "ext:ci/plan/clock.ts";
import type { Outcome, Report, Scope, Step } from "ext:ci/plan/types.ts";

/** What a step throws when something in it failed, rather than could not be run. */
export class StepFailure extends Error {}

/** What a step throws that was to end before it began. */
export class Ended extends StepFailure {
  constructor({ signal }: Pick<Scope, "signal">) {
    super(signal.aborted ? "ended early" : "its time had passed before it started");
  }
}

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
  // Why a step was ended is told by the one that has failed.
  if (!(reason instanceof Ended && scope.signal.aborted)) {
    scope.report.problems.push(message);
  }
  if (isAbort(reason)) {
    noteStop(scope);
    return ending(scope) === "failure" ? "failure" : "abort";
  }
  const end = ending(scope);
  // What could not be run stays an error, however late that is.
  if (end === "abort" || end === "failure" && reason instanceof StepFailure) {
    return end;
  }
  if (scope.willRetry) {
    console.info(`${scope.job.name}: ${message}, is tried again`);
  } else {
    console.error(`${scope.job.name}: ${message}`);
  }
  return reason instanceof StepFailure ? "failure" : "error";
}

/** Whether what was thrown says that nothing has begun. */
export function isNotStarted(reason: unknown): boolean {
  return reason instanceof Ended || isAbort(reason);
}

/** Whether a task was to end before it began. */
function isAbort(reason: unknown): boolean {
  return reason instanceof Error && reason.name === "AbortError";
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
  const left = deadline - clock.now();
  return left <= 0 ? "failure" : { signal, cleanup, timeout: left };
}

/** The image of tasks that name none, where there are images: a small one with a shell. */
export function plainImage(): string | undefined {
  return pipelineContext.hasImages ? "busybox" : undefined;
}

/** Runs a task of a step, if the step still may. */
export async function execute(scope: Scope, options: RunOptions): Promise<RunResult> {
  const end = ending(scope);
  if (typeof end === "string") {
    throw new Ended(scope);
  }
  const run: NonNullable<Scope["run"]> = scope.run ?? runtime.run;
  const given = { ...options, ...end, willRetry: scope.willRetry };
  const result = await run(given, scope.timeout);
  if (result.status === "abort") {
    noteStop(scope);
  }
  return result;
}

/** Nothing of the pipeline has ended the task: so the run is about to end, and no step starts. */
function noteStop(scope: Scope): void {
  if (!scope.signal.aborted && clock.now() < scope.deadline) {
    scope.job.run.stop.abort();
  }
}

/** A report without anything in it yet. */
export function newReport(): Report {
  return { problems: [], wrong: [] };
}

/** Adds what a part of a step has to say. */
export function addReport(report: Report, part: Report): void {
  for (const problem of part.problems) {
    report.problems.push(problem);
  }
  for (const wrong of part.wrong) {
    report.wrong.push(wrong);
  }
}

/**
 * Says that a step will not succeed, before all of it has ended. Returns whether that has ended the rest of
 * the step: what becomes of the rest is no news about the step then.
 */
export function endedBy(scope: Scope, outcome: Outcome): boolean {
  const wasEnded = scope.signal.aborted;
  scope.failing(outcome);
  return !wasEnded && scope.signal.aborted;
}

/** What several outcomes are as one. */
export function worst(outcomes: readonly Outcome[]): Outcome {
  const order = ["abort", "error", "failure"] as const;
  return order.find((outcome) => outcomes.includes(outcome)) ?? "success";
}
