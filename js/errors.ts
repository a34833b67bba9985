// How the host tells what a pipeline has thrown.

import { inspected } from "ext:ci/inspect.ts";

/** As the platform has it: a pipeline may replace the global one. */
let Suppressed: typeof SuppressedError;

/** V8 adds the class to the context that it makes from a snapshot, so it cannot be in there. */
export function startErrors(): void {
  Suppressed = globalThis.SuppressedError;
}

/** The errors of blocks whose disposal has failed too: what the block threw comes first. */
const disposals: unknown[][] = [];

/**
 * The message of something that was thrown, or `null` for that of an ordinary error.
 *
 * A `SuppressedError` says nothing by itself. Its message becomes the number under which the host
 * finds the errors in it.
 */
export function message(thrown: unknown): string | null {
  try {
    if (thrown instanceof Suppressed) {
      return `\u0001${disposals.push(parts(thrown)) - 1}`;
    }
    return thrown instanceof Error ? null : inspected(thrown);
  } catch {
    // A proxy may throw when it is asked for its prototype.
    return inspected(thrown);
  }
}

/** The errors behind a number in a message. */
export function disposal(number: number): unknown[] {
  return disposals[number] ?? [];
}

/** What the block threw, and then what each disposal threw, in the order of time. */
function parts(thrown: SuppressedError): unknown[] {
  const later: unknown[] = [];
  let first: unknown = thrown;
  while (first instanceof Suppressed && !later.includes(first)) {
    later.unshift(first.error);
    first = first.suppressed;
  }
  return [first, ...later];
}
