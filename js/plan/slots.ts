// How many run at the same time, and what ends the others.
//
// A slot goes to the next task only when the outcome of the first one has reached everybody whom it
// concerns. A branch of steps keeps the slots of its last task until it asks for others or ends, and a step
// that fails says so before its hooks run. So `fail_fast` is never late, whatever is between the task and
// the step that has it.

import { clock } from "ext:ci/plan/clock.ts";
import { ending, Ended, endedBy, worst } from "ext:ci/plan/outcomes.ts";
import type { Branch, Ends, Outcome, Scope, Slots } from "ext:ci/plan/types.ts";

/** Lets `count` run at a time, in the order in which they came. */
export function slots(count: number): Slots {
  let free = count;
  let waiting: (() => boolean)[] = [];
  let first = 0;
  const release = () => {
    while (first < waiting.length) {
      const resume = waiting[first++];
      // Moving the rest at each step would take a time that grows with the square of the length.
      if (first > 1024 && first > waiting.length / 2) {
        waiting = waiting.slice(first);
        first = 0;
      }
      if (resume?.() === true) {
        return;
      }
    }
    free++;
  };
  return async (scope) => {
    if (free > 0) {
      free--;
      return release;
    }
    if (scope?.signal.aborted === true) {
      return undefined;
    }
    const taken = await new Promise<boolean>((resolve) => {
      let pending = true;
      const end = (taken: boolean): boolean => {
        const was = pending;
        pending = false;
        stopWaiting?.();
        resolve(taken);
        return was;
      };
      const stopWaiting = scope && whenEnded(scope, () => end(false));
      waiting.push(() => pending && end(true));
    });
    return taken ? release : undefined;
  };
}

/** What waits for the end of a signal, in one listener: each signal compares a new one to all others. */
const endings = new WeakMap<AbortSignal, Set<() => void>>();

/** The longest time that a timer can wait, in ms. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Calls `end` when the scope ends. The result takes that back. */
function whenEnded({ signal, deadline }: Ends, end: () => void): () => void {
  let all = endings.get(signal);
  if (all === undefined) {
    const created = new Set<() => void>();
    signal.addEventListener("abort", () => created.forEach((end) => end()));
    endings.set(signal, created);
    all = created;
  }
  all.add(end);
  let timer: number | undefined;
  const wait = () => {
    const left = deadline - clock.now();
    timer = left > 0 ? setTimeout(wait, Math.min(left, LONGEST_TIMER)) : setTimeout(end, 0);
  };
  if (deadline !== Infinity) {
    wait();
  }
  return () => {
    all.delete(end);
    clearTimeout(timer);
  };
}

/** Works in a slot. Others get it when the work is done. */
export async function within<T>(slots: Slots, work: () => Promise<T>): Promise<T> {
  const release = await slots();
  try {
    return await work();
  } finally {
    release?.();
  }
}

/**
 * Counts the work as a task of the job and of the run, each of which may have a limit. Its slots go
 * to the next task no earlier than it is known what the end of this one means for others: when the
 * same branch asks for slots again, or when it has ended.
 */
export async function slotted<T>(scope: Scope, work: () => Promise<T>): Promise<T> {
  letGo(scope.branch);
  const job = await scope.job.slots(scope);
  const run = job && await scope.job.run.slots(scope);
  const release = () => {
    run?.();
    job?.();
  };
  const end = ending(scope);
  if (run === undefined || typeof end === "string") {
    release();
    throw new Ended(scope);
  }
  try {
    return await work();
  } finally {
    scope.branch.release = release;
  }
}

/** Gives the slots of a branch to others. */
export function letGo(branch: Branch): void {
  const { release } = branch;
  branch.release = undefined;
  release?.();
}

/**
 * Runs branches at the same time. The slots of the last one that ends go back with the outcome of
 * all of them.
 */
export async function forked<T, R>(
  scope: Scope,
  items: readonly T[],
  work: (item: T, scope: Scope) => Promise<R>,
): Promise<R[]> {
  letGo(scope.branch);
  let open = items.length;
  return await Promise.all(items.map(async (item) => {
    const branch: Branch = {};
    try {
      return await work(item, { ...scope, branch });
    } finally {
      if (--open === 0) {
        scope.branch.release = branch.release;
      } else {
        letGo(branch);
      }
    }
  }));
}

/**
 * Runs all branches, so many at a time. With `failFast` the first that does not succeed ends the others.
 * Without it they go on, unless what is around them has `failFast`: the whole of it cannot succeed either.
 */
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
  const failing = (outcome: Outcome) => {
    if (first !== undefined) {
      return;
    }
    if (failFast) {
      first = outcome;
      abort();
      scope.failing(outcome);
    } else if (endedBy(scope, outcome)) {
      first = outcome;
    }
  };
  const slot = slots(limit);
  const inner = { ...scope, signal: controller.signal, failing };
  const outcomes = await forked(inner, items, (item, scope) =>
    within(slot, async () => {
      if (scope.signal.aborted) {
        return "abort";
      }
      const outcome = await work(item, scope);
      if (outcome !== "success") {
        failing(outcome);
      }
      return outcome;
    }));
  scope.signal.removeEventListener("abort", abort);
  return first ?? worst(outcomes);
}
