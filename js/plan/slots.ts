// How many run at the same time, and what ends the others.

import { worst } from "ext:ci/plan/outcomes.ts";
import type { Outcome, Scope, Slots } from "ext:ci/plan/types.ts";

/** Lets `count` run at a time, in the order in which they came. */
export function slots(count: number): Slots {
  let free = count;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (free > 0) {
      free--;
    } else {
      await new Promise<void>((resume) => waiting.push(resume));
    }
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) {
        free++;
      } else {
        next();
      }
    }
  };
}

/** Counts the work as a task of the job and of the run, each of which may have a limit. */
export function slotted<T>({ job }: Scope, work: () => Promise<T>): Promise<T> {
  return job.slots(() => job.run.slots(work));
}

/** Runs all branches, so many at a time. With `failFast` the first that does not succeed ends the others. */
export async function together<T>(
  scope: Scope,
  items: readonly T[],
  limit: number,
  failFast: boolean,
  work: (item: T, scope: Scope) => Promise<Outcome>,
): Promise<Outcome> {
  const controller = new AbortController();
  const abort = () => controller.abort();
  if (scope.signal.aborted) {
    abort();
  }
  scope.signal.addEventListener("abort", abort);
  let first: Outcome | undefined;
  const slot = slots(limit);
  const outcomes = await Promise.all(items.map((item) =>
    slot(async () => {
      if (controller.signal.aborted) {
        return "abort";
      }
      const outcome = await work(item, { ...scope, signal: controller.signal });
      if (failFast && outcome !== "success") {
        first ??= outcome;
        abort();
      }
      return outcome;
    })
  ));
  scope.signal.removeEventListener("abort", abort);
  return first ?? worst(outcomes);
}
