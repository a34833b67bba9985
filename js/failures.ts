// Failed tasks and rejected calls, and whether the pipeline has looked at them.
//
// A pipeline that goes on after a failure without knowing of it must not end as a success. So the result
// of a failed task remembers whether its outcome was read, and an error that a call rejects with
// whether it was. The host asks for those that were not read when the pipeline has settled.
//
// The result of a failed task has getters for `code`, `status`, `ok` and `message`, and the error that a call
// rejects with has accessors for its fields until one of them is read. When the pipeline has settled,
// failures whose getters nobody called fail the run. Results of tasks that succeeded are plain objects. No
// promise is watched: what `Promise.allSettled` does with one cannot be told from a handler of the
// pipeline's.

import { core } from "ext:core/mod.js";
import type { CallSite } from "ext:ci/call_site.ts";
import { isPrinting } from "ext:ci/printing.ts";

/** The fields that say how a task ended. Reading one of them is looking at the outcome. */
const OUTCOME = ["code", "status", "ok", "message"] as const satisfies ReadonlyArray<keyof RunResult>;

/** The fields of an error. Reading one of them is looking at it. */
const ERROR = ["name", "message", "stack", "cause", "code"] as const;

/** What `console` and `assert` look for when they print an object. */
const INSPECT = Symbol.for("Deno.privateCustomInspect");

/** A failure that the pipeline has not looked at so far. */
interface Failure {
  readonly site: CallSite;
  /** What failed, and how. */
  readonly text: string;
  /** Whether there is a result that says so, and not an error. */
  readonly hasResult: boolean;
}

const unread = new Set<Failure>();

/** How many errors the pipeline has looked at. */
let errorsRead = 0;

/** The tasks that have started and have no result yet. */
const running = new Set<Failure>();

/** Forgets the calls that were made while the snapshot was built, when there were no ops. */
export function startFailures(): void {
  unread.clear();
  running.clear();
}

/** Remembers a task until `settled` is called with the same value. */
export function started(name: string, site: CallSite): Failure {
  const text = `\`${name}\` has not ended: its \`onOutput\` never returned`;
  const task = { site, text, hasResult: true };
  running.add(task);
  return task;
}

/** The task has a result, or its call rejects. */
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
export function tracked(name: string, result: RunResult, site: CallSite): RunResult {
  // An object as pipelines make them; those of the host have no prototype.
  const plain: RunResult = { ...result };
  if (result.ok) {
    return plain;
  }
  const how = result.message === "" ? `exit code ${result.code}` : result.message;
  const failure = { site, text: `\`${name}\` did not succeed: ${how}`, hasResult: true };
  unread.add(failure);
  const watched = { ...plain };
  for (const field of OUTCOME) {
    Object.defineProperty(watched, field, {
      get: () => {
        if (!isPrinting()) {
          unread.delete(failure);
        }
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

/**
 * The error that a call rejects with, as the pipeline gets it. `what` is what failed, where the message
 * does not say that.
 *
 * A rejection that nobody handles ends the run, and so does one that the pipeline passes on. But
 * `Promise.allSettled`, `Promise.any`, `Promise.race` and an empty `catch` handle one without a look at
 * it. So the fields of the error are accessors until one of them is read, and then as of any error.
 */
export function rejection(what: string | null, reason: unknown, site: CallSite): unknown {
  if (!core.isNativeError(reason)) {
    return reason;
  }
  const error = reason;
  const text = what === null ? error.message : `\`${what}\`: ${error.message}`;
  const failure = { site, text, hasResult: false };
  unread.add(failure);
  const own = ERROR
    .map((field) => ({ field, property: Object.getOwnPropertyDescriptor(error, field) }))
    .filter(({ field, property }) => field === "name" || property !== undefined);
  const look = () => {
    if (isPrinting() || !unread.delete(failure)) {
      return;
    }
    errorsRead += 1;
    for (const { field, property } of own) {
      if (property === undefined) {
        Reflect.deleteProperty(error, field);
      } else {
        Object.defineProperty(error, field, property);
      }
    }
  };
  for (const { field, property } of own) {
    const inherited = property === undefined ? error[field as "name"] : undefined;
    Object.defineProperty(error, field, {
      get: () => {
        look();
        if (property === undefined) {
          return inherited;
        }
        const { get, value } = property;
        return get === undefined ? value : Reflect.apply(get, error, []);
      },
      set: (value: unknown) => {
        look();
        Object.defineProperty(error, field, {
          value,
          writable: true,
          enumerable: property?.enumerable ?? true,
          configurable: true,
        });
      },
      enumerable: property?.enumerable ?? false,
      configurable: true,
    });
  }
  return error;
}

/**
 * What `copy` returns. A copy of an error lacks what was an accessor, so it is made again if it was the
 * first look at the error.
 */
export function copyOfRead<T>(copy: () => T): T {
  const before = errorsRead;
  const copied = copy();
  return errorsRead === before ? copied : copy();
}

/**
 * Each failure that the pipeline has not looked at: an error at the place of its call, and whether it is
 * about a result.
 */
export function unreadFailures(): Array<[error: unknown, hasResult: boolean]> {
  const left = [...running, ...unread];
  // The errors get other messages, and have to keep them when they are read.
  unread.clear();
  return left.map(({ site, text, hasResult }) => [site.adopt(new Error(text)), hasResult]);
}
