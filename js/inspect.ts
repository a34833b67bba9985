// Values as text: in the console, and in the messages of failed checks.

import { core } from "ext:core/mod.js";
import { printing } from "ext:ci/printing.ts";

const { inspect } = core.loadExtScript("ext:deno_web/01_console.js");

/** Enough for any value that a person compares, and bounded for those that nobody should. */
const LIMITS = { depth: 64, iterableLimit: 10_000, strAbbreviateSize: 1_000_000 };

/** How deep the parts of a value are looked at when the value as a whole cannot be shown. */
const MAX_LEVELS = 4;

/** How many of its properties are looked at then. */
const MAX_PARTS = 100;

const INSPECT = Symbol.for("Deno.privateCustomInspect");

/** A value on as few lines as it needs; keys sorted, so that equal values read the same. */
export function inspected(value: unknown): string {
  return shown(value, { ...LIMITS, sorted: true });
}

/** The same with one property a line, so that a diff finds what two values have in common. */
export function inspectedByLine(value: unknown): string {
  return shown(value, { ...LIMITS, sorted: true, compact: false, trailingComma: true });
}

function shown(value: unknown, options: Readonly<Record<string, unknown>>): string {
  return printing(() => {
    try {
      return text(value, options);
    } catch {
      return inspect(printable(value), options);
    }
  });
}

/** How deno_web shows a value of which a part has thrown: with its own stack instead of the value. */
const FAILED = "[Internal Formatting Error]";

function text(value: unknown, options: Readonly<Record<string, unknown>>): string {
  const text = inspect(value, options);
  if (typeof value === "object" && text.startsWith(FAILED)) {
    throw new TypeError(text.slice(FAILED.length).split("\n", 1)[0]?.replace(/^ \w+: /, ""));
  }
  return text;
}

/**
 * The value, or where it cannot be shown a copy in which a text stands for each part that throws.
 *
 * Printing runs code of the value: getters, `toString`, the traps of a proxy, functions that inspect
 * it. All of these may throw.
 */
export function printable(value: unknown, levels = MAX_LEVELS): unknown {
  let reason: unknown;
  try {
    text(value, {});
    return value;
  } catch (error) {
    reason = error;
  }
  if (levels > 0) {
    try {
      return copyOfParts(value as object, levels);
    } catch {
      // Not even its keys can be asked for.
    }
  }
  return placeholder(`[${kind(value)} that cannot be shown${because(reason)}]`);
}

function copyOfParts(value: object, levels: number): object {
  const copy: object = Array.isArray(value) ? [] : {};
  const keys = Reflect.ownKeys(value);
  let failed = false;
  for (const key of keys.slice(0, MAX_PARTS)) {
    const property = Reflect.getOwnPropertyDescriptor(value, key);
    if (property?.enumerable !== true || !("value" in property)) {
      continue;
    }
    const part = printable(property.value, levels - 1);
    failed ||= part !== property.value;
    Object.defineProperty(copy, key, { ...property, value: part });
  }
  if (!failed) {
    // The parts are not what cannot be shown.
    throw new TypeError("the value itself throws");
  }
  return copy;
}

/** An object that prints as a text without quotes. */
function placeholder(text: string): object {
  const object = { toString: () => text };
  Object.defineProperty(object, INSPECT, { value: () => text });
  return object;
}

function kind(value: unknown): string {
  return typeof value === "function" ? "function" : "object";
}

function because(reason: unknown): string {
  try {
    return reason instanceof Error ? `: ${String(reason.message).slice(0, 200)}` : "";
  } catch {
    return "";
  }
}
