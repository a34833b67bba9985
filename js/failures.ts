// Results of failed tasks, and whether the pipeline has looked at them.
//
// A pipeline that goes on after a failed task without knowing that it failed must not end as a
// success. So the result of a failed task remembers whether its outcome was read, and the host asks
// for those that were not read when the pipeline has settled.

import type { CallSite } from "ext:ci/call_site.ts";
import type { TaskResult } from "ext:ci/ops.gen.ts";

/** The fields that say how a task ended. Reading one of them is looking at the outcome. */
const OUTCOME = ["code", "status", "message"] as const satisfies ReadonlyArray<keyof RunResult>;

/** What `console` and `assert` look for when they print an object. */
const INSPECT = Symbol.for("Deno.privateCustomInspect");

/** A failed task whose outcome nobody has read so far. */
interface Failure {
  readonly site: CallSite;
  /** The task's name and how it ended. */
  readonly text: string;
}

const unread = new Set<Failure>();

/** The tasks that have started and have no result yet. */
const running = new Set<Failure>();

/** Remembers a task until `settled` is called with the same value. */
export function started(name: string, site: CallSite): Failure {
  const task = { site, text: `\`${name}\` has not ended: its \`onOutput\` never returned` };
  running.add(task);
  return task;
}

/** The task has a result, or its call rejects. A rejection needs no watching: it ends the run. */
export function settled(task: Failure): void {
  running.delete(task);
}

/**
 * The result as the pipeline gets it.
 *
 * The result of a task that succeeded is a plain object. So is that of a task that failed, but the
 * fields of its outcome are getters. Destructuring, spreading, `JSON.stringify`, `Object.entries` and
 * `assert.equal` call them like any other code that reads the fields. Printing does not call them: a
 * log shows the failure to a person, but the pipeline goes on as if nothing had happened.
 */
export function tracked(name: string, result: TaskResult, site: CallSite): RunResult {
  // An object as pipelines make them; those of the host have no prototype.
  const plain: RunResult = { ...result };
  if (result.code === 0 && result.status === "complete") {
    return plain;
  }
  const how = result.message === "" ? `exit code ${result.code}` : result.message;
  const failure = { site, text: `\`${name}\` did not succeed: ${how}` };
  unread.add(failure);
  const watched = { ...plain };
  for (const field of OUTCOME) {
    Object.defineProperty(watched, field, {
      get: () => {
        unread.delete(failure);
        return plain[field];
      },
      enumerable: true,
      configurable: true,
    });
  }
  Object.defineProperty(watched, INSPECT, {
    value: (inspect: (value: unknown, options: unknown) => string, options: unknown) =>
      inspect(plain, options),
    configurable: true,
  });
  return watched;
}

/** Each failure that the pipeline has not looked at, as an error at the place of its call. */
export function unreadFailures(): Error[] {
  return [...running, ...unread].map(({ site, text }) => site.adopt(new Error(text)) as Error);
}
