// A value that a pipeline handed over, together with the path that messages name it by.

import { argumentError, type Entry } from "ext:ci/call_site.ts";

/** How much of a wrong text a message repeats. */
const SHOWN_LETTERS = 60;

/**
 * One value at one path.
 *
 * `Declared` is what the typings promise to accept there. It exists for the compiler alone, which
 * thereby refuses to put a check on a field whose declared type the check does not cover.
 */
export class Field<Declared = unknown> {
  declare readonly declared: Declared;

  readonly entry: Entry;
  readonly value: unknown;
  readonly #path: string | (() => string);

  /** Most paths are never shown, so a field may come with a way to its path instead. */
  constructor(entry: Entry, value: unknown, path: string | (() => string) = "") {
    this.entry = entry;
    this.value = value;
    this.#path = path;
  }

  get path(): string {
    return typeof this.#path === "string" ? this.#path : this.#path();
  }

  /** The property of this name. `this.value` has to be an object. */
  key<Inner>(name: string): Field<Inner> {
    const object = this.value as Readonly<Record<string, unknown>>;
    return new Field(this.entry, object[name], () => this.keyPath(name));
  }

  /** The path of the property of this name. */
  keyPath(name: string): string {
    if (/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name)) {
      return this.path === "" ? name : `${this.path}.${name}`;
    }
    return `${this.path}[${JSON.stringify(name)}]`;
  }

  /** The element at this index. `this.value` has to be an array. */
  index<Inner>(index: number): Field<Inner> {
    const array = this.value as readonly unknown[];
    return new Field(this.entry, array[index], () => `${this.path}[${index}]`);
  }

  /** Another value at the same path. */
  with<Inner>(value: Inner): Field<Inner> {
    return new Field(this.entry, value, () => this.path);
  }

  /** The error for a value of another type than `what`. */
  expected(what: string, hint = ""): TypeError {
    return this.error(`expected ${what}, got ${kind(this.value)}${hint}`);
  }

  /** The error for a text of the right type that is not `what`. */
  expectedText(what: string): TypeError {
    return this.error(`expected ${what}, got ${quoted(String(this.value))}`);
  }

  error(message: string, path = this.path): TypeError {
    return argumentError(this.entry, path === "" ? message : `${path}: ${message}`);
  }
}

/** What a message calls a value: its type, as far as a user needs it. */
export function kind(value: unknown): string {
  if (value === null) {
    return "null";
  }
  return Array.isArray(value) ? "array" : typeof value;
}

/** A text as a message repeats it: on one line, in backticks, and not too long. */
export function quoted(text: string): string {
  if (text === "") {
    return "an empty string";
  }
  const letters = Array.from(text);
  const shown = letters.length > SHOWN_LETTERS
    ? `${letters.slice(0, SHOWN_LETTERS).join("")}\u2026`
    : text;
  return `\`${shown.replace(/\p{Cc}/gu, (letter) => JSON.stringify(letter).slice(1, -1))}\``;
}
