// The checks that arguments are made of: each takes a field, and returns what an op takes or throws
// a `TypeError` that names the field.

import { ops } from "ext:ci/ops.ts";
import type { Field } from "ext:ci/field.ts";

/** A check for everything that the typings allow as `Declared`. */
export type Check<Declared, Out> = (field: Field<Declared>) => Out;

/**
 * One check for every key of a type from the typings, optional keys included.
 *
 * A key that is missing here, or that the typings do not have, does not compile.
 */
export type Shape<T> = { readonly [K in keyof T]-?: Check<T[K], unknown> };

/** What the checks of a shape make of an object. */
export type Checked<S> = { [K in keyof S]: S[K] extends Check<never, infer Out> ? Out : never };

/** An object with the keys of `shape` and no others. */
export function record<T, S extends Shape<T>>(
  field: Field<T>,
  shape: S & Shape<T>,
): Checked<S> {
  if (field.value === null || typeof field.value !== "object" || Array.isArray(field.value)) {
    throw field.expected("object");
  }
  const known = Object.keys(shape);
  for (const key of Object.keys(field.value)) {
    if (!Object.hasOwn(shape, key)) {
      throw field.error(unknownKey(key, known), field.keyPath(key));
    }
  }
  const checked: Record<string, unknown> = {};
  for (const key of known) {
    const check = shape[key as keyof S] as Check<unknown, unknown>;
    checked[key] = check(field.key(key));
  }
  return checked as Checked<S>;
}

function unknownKey(key: string, known: readonly string[]): string {
  const nearest = ops.op_suggestion(key, known);
  const hint = nearest === null ? "" : `, did you mean \`${nearest}\`?`;
  return `unknown key${hint} (known keys: ${known.join(", ")})`;
}

/** `null` for what was left out, which is how an op takes it. */
export function optional<Declared, Out>(
  check: Check<Declared, Out>,
): Check<Declared | undefined, Out | null> {
  return (field) => field.value === undefined ? null : check(field as Field<Declared>);
}

/** Every element of an array. */
export function list<Declared, Out>(
  check: Check<Declared, Out>,
): Check<readonly Declared[], Out[]> {
  return (field) => {
    if (!Array.isArray(field.value)) {
      throw field.expected("array");
    }
    return Array.from(field.value, (_, index) => check(field.index(index)));
  };
}

/** Any text. */
export const string: Check<string, string> = (field) => {
  if (typeof field.value !== "string") {
    throw field.expected("string");
  }
  return field.value;
};

/** The most letters that all texts of one kind may have, which is more than any kernel takes. */
const MOST_LETTERS = 16 * 1024 * 1024;

/** Refuses texts with more letters than `MOST_LETTERS`, before anybody copies them. */
export class Letters {
  #count = 0;

  /** Counts a text that is found at `field`, or at a part of it. */
  add(field: Field, text: string): void {
    this.#count += text.length;
    if (this.#count > MOST_LETTERS) {
      throw field.error(
        `expected at most ${MOST_LETTERS} letters, which is more than any kernel takes; hand it over ` +
          "in a file or through stdin",
      );
    }
  }
}

/** Text for the operating system, which ends a text at the first NUL. */
export const systemString: Check<string, string> = (field) => {
  const text = string(field);
  new Letters().add(field, text);
  if (text.includes("\0")) {
    throw field.error("expected a string without NUL characters");
  }
  return text;
};

/** The same where people tend to hand over a number or a boolean. */
export const systemValue: Check<string, string> = (field) => {
  if (typeof field.value === "number" || typeof field.value === "boolean") {
    throw field.expected("string", `, write \`String(${field.value})\``);
  }
  return systemString(field);
};

/** Several of them. */
export const systemValues: Check<readonly string[], string[]> = (field) => {
  const letters = new Letters();
  return list<string, string>((element) => {
    const text = systemValue(element);
    letters.add(field, text);
    return text;
  })(field);
};

/** Text for the operating system with something in it. */
export function nonEmpty(what: string): Check<string, string> {
  return (field) => {
    const text = systemString(field);
    if (text === "") {
      throw field.expectedText(what);
    }
    return text;
  };
}

export const boolean: Check<boolean, boolean> = (field) => {
  if (typeof field.value !== "boolean") {
    throw field.expected("boolean");
  }
  return field.value;
};

/** A number of something, more than zero. */
export const positiveNumber: Check<number, number> = (field) => {
  const value = field.value;
  if (typeof value !== "number") {
    throw field.expected("number");
  }
  if (!(value > 0 && Number.isFinite(value))) {
    throw field.error(`expected a number greater than 0, got ${value}`);
  }
  return value;
};

/** In milliseconds. */
export const duration: Check<Duration, number> = (field) => {
  const value: unknown = field.value;
  // Other tools write `M` for minutes or for months, so it means neither here.
  const hint =
    typeof value === "string" && /(^|[^A-Za-z])M([^A-Za-z]|$)/.test(value)
      ? " (`M` is not a unit: write `m` for minutes, or `months`)"
      : "";
  const what = `a duration such as \`90s\` or \`1h 30m\`${hint}`;
  return quantity(field, what, "milliseconds", ops.op_duration_ms);
};

/** In bytes. */
export const size: Check<Size, number> = (field) =>
  quantity(field, "a size such as `512MB` or `1GiB`", "bytes", ops.op_size_bytes);

function quantity(
  field: Field<number | string>,
  what: string,
  unit: string,
  parse: (text: string) => number | null,
): number {
  const value = field.value;
  if (typeof value === "string") {
    const parsed = parse(value);
    if (parsed === null || !(parsed > 0 && parsed <= Number.MAX_SAFE_INTEGER)) {
      throw field.expectedText(what);
    }
    return parsed;
  }
  if (typeof value !== "number") {
    throw field.expected(`${what}, or a number of ${unit}`);
  }
  if (!(Number.isSafeInteger(value) && value > 0)) {
    throw field.error(`expected a whole number of ${unit} greater than 0, got ${value}`);
  }
  return value;
}

export const volumeName: Check<string, string> = (field) => {
  const name = string(field);
  const problem = ops.op_volume_name_error(name);
  if (problem !== null) {
    throw field.error(problem);
  }
  return name;
};

/** A function of the pipeline, which is called with whatever the typings say. */
export function callback<F>(): Check<F, F> {
  return (field) => {
    if (typeof field.value !== "function") {
      throw field.expected("function");
    }
    return field.value as F;
  };
}

/** The signal of an `AbortController`. */
export const signal: Check<AbortSignal, AbortSignal> = (field) => {
  const value = field.value as Partial<AbortSignal> | null;
  if (typeof value?.aborted !== "boolean" || typeof value.addEventListener !== "function") {
    throw field.expected("AbortSignal");
  }
  return field.value as AbortSignal;
};

/** Text as UTF-8, or a copy of bytes, so that the pipeline may use its own buffer again. */
export function bytes(
  encode: (text: string) => Uint8Array,
): Check<string | Uint8Array, Uint8Array> {
  return (field) => {
    const value = field.value;
    if (typeof value === "string") {
      return encode(value);
    }
    if (!(value instanceof Uint8Array)) {
      throw field.expected("string or Uint8Array");
    }
    return new Uint8Array(value);
  };
}
