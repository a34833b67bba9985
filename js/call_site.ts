// Errors that point at the pipeline's line and not at the runtime's own.

import { core } from "ext:core/mod.js";

/** A public function, as its name in messages and as the frame that stacks leave out. */
export interface Entry {
  readonly name: string;
  // The compiler's own type for "any function", which is what a stack trace is cut at.
  readonly function: Function;
}

/** A `TypeError` whose stack starts where the pipeline called `entry`. */
export function argumentError(entry: Entry, message: string): TypeError {
  const error = new TypeError(`${entry.name}: ${message}`);
  Error.captureStackTrace(error, entry.function);
  return error;
}

/**
 * The place of a call whose outcome is known later.
 *
 * By then the caller has left the stack, and whether the engine can still name it depends on how
 * the caller waits. Remembering the place costs a few microseconds and always works.
 */
export class CallSite {
  readonly #error = new Error();

  constructor(entry: Entry) {
    Error.captureStackTrace(this.#error, entry.function);
  }

  /** The same error as seen from this place. What is not an error stays what it is. */
  adopt(reason: unknown): unknown {
    if (!core.isNativeError(reason)) {
      return reason;
    }
    const error = this.#error;
    Object.setPrototypeOf(error, Object.getPrototypeOf(reason) as object);
    Object.defineProperty(error, "message", {
      value: reason.message,
      writable: true,
      enumerable: false,
      configurable: true,
    });
    return Object.assign(error, reason);
  }
}
