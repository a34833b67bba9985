// Values as text: in the console, and in the messages of failed checks.

import { core } from "ext:core/mod.js";

const { inspect } = core.loadExtScript("ext:deno_web/01_console.js");

/** Enough for any value that a person compares, and bounded for those that nobody should. */
const LIMITS = { depth: 64, iterableLimit: 10_000, strAbbreviateSize: 1_000_000 };

/** A value on as few lines as it needs; keys sorted, so that equal values read the same. */
export function inspected(value: unknown): string {
  return inspect(value, { ...LIMITS, sorted: true });
}

/** The same with one property a line, so that a diff finds what two values have in common. */
export function inspectedByLine(value: unknown): string {
  return inspect(value, { ...LIMITS, sorted: true, compact: false, trailingComma: true });
}
