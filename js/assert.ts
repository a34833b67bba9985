// The global `assert`.

import { AssertionError } from "ext:ci/assertion_error.ts";
import type { Entry } from "ext:ci/call_site.ts";
import { optional, string } from "ext:ci/checks.ts";
import { equal as isEqual } from "ext:ci/equal.ts";
import { Field } from "ext:ci/field.ts";
import { difference, excerpt } from "ext:ci/difference.ts";

function equal(actual: unknown, expected: unknown, message?: string): void {
  const entry = { name: "assert.equal", function: equal };
  const note = checkedMessage(entry, message);
  if (!isEqual(actual, expected)) {
    throw failure(entry, note, difference(actual, expected), { actual, expected });
  }
}

function notEqual(actual: unknown, expected: unknown, message?: string): void {
  const entry = { name: "assert.notEqual", function: notEqual };
  const note = checkedMessage(entry, message);
  if (isEqual(actual, expected)) {
    const problem = `expected a value other than ${excerpt(expected)}`;
    throw failure(entry, note, problem, { actual, expected });
  }
}

function truthy(value: unknown, message?: string): asserts value {
  const entry = { name: "assert.truthy", function: truthy };
  const note = checkedMessage(entry, message);
  if (!value) {
    throw failure(entry, note, `expected a truthy value, got ${excerpt(value)}`, { actual: value });
  }
}

function containsString(text: string, part: string, message?: string): void {
  const entry = { name: "assert.containsString", function: containsString };
  const note = checkedMessage(entry, message);
  string(new Field(entry, text, "text"));
  string(new Field(entry, part, "part"));
  if (!text.includes(part)) {
    const problem = `expected text that contains ${excerpt(part)}, got ${excerpt(text)}`;
    throw failure(entry, note, problem, { actual: text, expected: part });
  }
}

function containsElement(array: readonly unknown[], element: unknown, message?: string): void {
  const entry = { name: "assert.containsElement", function: containsElement };
  const note = checkedMessage(entry, message);
  if (!Array.isArray(array)) {
    throw new Field(entry, array, "array").expected("array");
  }
  if (!array.some((candidate) => isEqual(candidate, element))) {
    const problem = `expected an array that contains ${excerpt(element)}, got ${excerpt(array)}`;
    throw failure(entry, note, problem, { actual: array, expected: element });
  }
}

function checkedMessage(entry: Entry, message: unknown): string | null {
  return optional(string)(new Field<string | undefined>(entry, message, "message"));
}

function failure(
  entry: Entry,
  note: string | null,
  problem: string,
  values: AssertionErrorOptions,
): AssertionError {
  const error = new AssertionError(note === null ? problem : `${note}: ${problem}`, {
    ...values,
    operator: entry.name.slice("assert.".length),
  });
  Error.captureStackTrace(error, entry.function);
  return error;
}

export const assert: Assert = Object.freeze({
  equal,
  notEqual,
  truthy,
  containsString,
  containsElement,
});
