// How a failed check shows the values that it compared.

import { inspected, inspectedByLine } from "ext:ci/inspect.ts";
import { ops } from "ext:ci/ops.ts";

/** Up to this many letters, two values are easier to compare side by side than as a diff. */
const SIDE_BY_SIDE = 72;

/** How many letters of a long value a message shows of its start, and as many of its end. */
const EXCERPT = 1_000;

/** The same for a diff, which is read line by line. */
const LONG_DIFF = 10_000;

/** How much memory a diff may need for each letter of both texts, in bytes: each may be a line. */
const PER_LETTER = 100;

/** What tells two unequal values apart. */
export function difference(actual: unknown, expected: unknown): string {
  const found = inspected(actual);
  const wanted = inspected(expected);
  // What is shown of a text may be its start alone, while a diff sees all of it.
  const texts = typeof actual === "string" && typeof expected === "string";
  if (found === wanted && !texts) {
    return `expected equal values, got two that differ only in what is not shown: ${
      excerpt(actual)
    }`;
  }
  if (isShort(actual, found) && isShort(expected, wanted)) {
    return `expected ${wanted}, got ${found}`;
  }
  // Two texts are compared by their own lines and not as literals full of `\n`.
  const [after, before] = texts
    ? [actual, expected]
    : [inspectedByLine(actual), inspectedByLine(expected)];
  if ((after.length + before.length) * PER_LETTER > ops.op_memory_left()) {
    return `expected ${excerpt(expected)}, got ${excerpt(actual)}`;
  }
  const diff = ops.op_text_diff(after, before);
  return `expected equal values\n\n${shortened(diff.trimEnd(), LONG_DIFF)}`;
}

/** One value, of which a long one is cut in the middle. */
export function excerpt(value: unknown): string {
  return shortened(inspected(value), EXCERPT);
}

/** A text of which at most `letters` are left at each end. */
function shortened(text: string, letters: number): string {
  const surplus = text.length - 2 * letters;
  return surplus <= 0
    ? text
    : `${text.slice(0, letters)}\u2026 (${surplus} letters left out) \u2026${text.slice(-letters)}`;
}

function isShort(value: unknown, text: string): boolean {
  const lines = typeof value === "string" && value.includes("\n");
  return !lines && text.length <= SIDE_BY_SIDE && !text.includes("\n");
}
