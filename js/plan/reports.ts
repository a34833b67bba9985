// What the log is told of jobs and steps. A pipeline that was written out as TypeScript has none of this.

import { ops } from "ext:ci/ops.ts";
import type { PlanEvent } from "ext:ci/ops.gen.ts";
import { attempts } from "ext:ci/plan/modifiers.ts";
import type { PlannedJob } from "ext:ci/plan/jobs.ts";
import { isNotStarted, StepFailure } from "ext:ci/plan/outcomes.ts";
import type { Outcome, Scope, Step } from "ext:ci/plan/types.ts";
import { runInStep } from "ext:ci/run.ts";

/** Reports one run of a pipeline. */
export class Reporter {
  #steps = 0;
  readonly #outcomes = new Map<string, Outcome>();

  /** Reports when a job starts and how it ends. */
  job(job: PlannedJob): PlannedJob {
    const { name } = job;
    return {
      ...job,
      start: async (run) => {
        report({ kind: "job_started", job: name });
        const end = await job.start(run);
        this.#outcomes.set(name, end.outcome);
        report({ kind: "job_finished", job: name, status: end.outcome, reasons: [...end.problems] });
        return end;
      },
    };
  }

  /** Reports the jobs that have not started, when all others have ended. */
  end(jobs: readonly PlannedJob[]): void {
    for (const { name: job, needs } of jobs.filter(({ name }) => !this.#outcomes.has(name))) {
      const waits = needs.some((name) => this.#outcomes.get(name) !== "success");
      const reason = waits ? "a job that it waits for did not succeed" : "the run is about to end";
      report({ kind: "job_skipped", job, reason });
    }
  }

  /** Reports when a step starts and how it ends. `action` is its key. */
  step(action: string, name: string, step: Step): Step {
    return async (scope) => {
      const [number, job] = [++this.#steps, scope.job.name];
      const attempt = (scope as Attempt).attempt ?? 1;
      report({
        kind: "step_started",
        job,
        step: number,
        action,
        name: name + scope.suffix,
        attempt,
      });
      let status: Outcome = "error";
      try {
        status = await step({ ...scope, run: (options, of) => runInStep(options, number, of) });
        return status;
      } catch (error) {
        const failed = error instanceof StepFailure ? "failure" : "error";
        status = isNotStarted(error) ? "abort" : failed;
        throw error;
      } finally {
        report({ kind: "step_finished", job, step: number, status });
      }
    };
  }
}

/** What steps run in that are tried several times. */
interface Attempt extends Scope {
  /** Counted from 1. */
  readonly attempt?: number;
}

/** As `attempts`; the steps know which attempt they are in. */
export function countedAttempts(count: number, step: Step): Step {
  return (scope) => {
    let attempt = 0;
    const counted = (scope: Scope) => {
      const inner: Attempt = { ...scope, attempt: ++attempt };
      return step(inner);
    };
    return attempts(count, counted)(scope);
  };
}

function report(event: PlanEvent): void {
  ops.op_plan_event(event);
}
