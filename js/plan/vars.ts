// `((.:name))`: variables that are known when a step runs. `((name))`: those of a task's file.

import type { Json, Scope } from "ext:ci/plan/types.ts";

/** Numbers with the digits that were written; not all typings of the language have this yet. */
interface Digits {
  rawJSON(text: string): object;
  isRawJSON(value: unknown): boolean;
}
const digits = JSON as unknown as Digits;

/** The value of a JSON text. A number that JavaScript would write in another way keeps its digits. */
export function parseJson(text: string): unknown {
  return JSON.parse(text, (_name, value: unknown, context?: { source?: string }) => {
    const source = context?.source;
    return typeof value === "number" && source !== undefined && String(value) !== source
      ? exact(source)
      : value;
  });
}

/** A number with these digits. */
export function exact(source: string): unknown {
  return digits.rawJSON(source);
}

/** As JSON. Numbers with digits that a parser would not keep are text. */
export function jsonText(value: unknown): string {
  return JSON.stringify(
    value,
    (_name, field: unknown) => digits.isRawJSON(field) ? JSON.stringify(field) : field,
  );
}

/** Whether a value is a number, with or without digits that JavaScript does not keep. */
export function isNumber(value: unknown): boolean {
  return typeof value === "number" || digits.isRawJSON(value);
}

/** The same value with variables replaced. A text that is nothing but a variable takes its type. */
export function resolved<T>(value: T, vars: ReadonlyMap<string, unknown>): T {
  if (!(JSON.stringify(value) ?? "").includes("((.:")) {
    return value;
  }
  return replaced(value, (reference, fallback) => {
    if (!reference.startsWith(".:")) {
      return undefined;
    }
    const given = lookup(reference.slice(2), (name) => vars.get(name));
    const found = given === undefined ? fallback : given;
    if (found === undefined) {
      throw new Error(`the variable \`${reference}\` has no value here`);
    }
    return found;
  }) as T;
}

/** A task's file with the `vars` of the task. */
export function filled(value: unknown, vars: Json, file: string): unknown {
  return replaced(value, (reference, fallback) => {
    if (reference.startsWith(".:")) {
      return undefined;
    }
    const given = Object.hasOwn(vars, reference)
      ? vars[reference]
      : lookup(reference, (name) => Object.hasOwn(vars, name) ? vars[name] : undefined);
    const found = given === undefined ? fallback : given;
    if (found === undefined) {
      throw new Error(`\`${file}\`: the variable \`${reference}\` has no value: add it to \`vars\``);
    }
    return found;
  });
}

/** Adds a variable to those of a scope. */
export function withVar(scope: Scope, name: string, value: unknown): Scope {
  return { ...scope, vars: new Map([...scope.vars, [name, value]]) };
}

/** A value as a task's environment and name hold it. */
export function shown(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value) ?? "";
}

/**
 * What stands between the parentheses of a variable, as Concourse has it: no blanks, no operators. A default may follow,
 * but for what a shell calculates.
 */
const REFERENCE = /(?:(?<!\$)\(\(([-/.:@"\w\p{L}]+) *\|\|(.*?)\)\))|\(\(([-/.:@"\w\p{L}]+)\)\)/gu;

/** What a variable is called, and its default. */
function referenceParts([, withDefault, text, name]: RegExpMatchArray): [name: string, fallback: unknown] {
  return withDefault === undefined ? [name ?? "", undefined] : [withDefault, plainDefault(text ?? "")];
}

/** A default: text between quotes, or what a plain scalar is. */
function plainDefault(text: string): unknown {
  const trimmed = text.trim();
  const [, quoted] = /^"(.*)"$/.exec(trimmed) ?? [];
  if (quoted !== undefined || trimmed === "") {
    return quoted ?? "";
  }
  try {
    return parseJson(YAML.asJSON(trimmed));
  } catch {
    return trimmed;
  }
}

/** Replaces variables in texts by what `find` makes of them, which is nothing for those of others. */
function replaced(
  value: unknown,
  find: (reference: string, fallback: unknown) => unknown,
): unknown {
  if (typeof value === "string") {
    const [first] = value.matchAll(REFERENCE);
    if (first !== undefined && first[0] === value) {
      const found = find(...referenceParts(first));
      return found === undefined ? value : found;
    }
    return value.replace(REFERENCE, (...match) => {
      const written = String(match[0]);
      const found = find(...referenceParts(match as RegExpMatchArray));
      return found === undefined ? written : shown(found ?? "");
    });
  }
  if (Array.isArray(value)) {
    return value.map((item) => replaced(item, find));
  }
  return value !== null && typeof value === "object" && !digits.isRawJSON(value)
    ? Object.fromEntries(
      Object.entries(value).map(([name, field]) => [
        shown(replaced(name, find)),
        replaced(field, find),
      ]),
    )
    : value;
}

/** `name.field.field`, where quotes keep the points of a name. */
function lookup(reference: string, find: (name: string) => unknown): unknown {
  const parts = reference.match(/("[^"]*"|[^.])+/g) ?? [];
  const [name = "", ...fields] = parts.map((part) => part.replaceAll('"', ""));
  return fields.reduce<unknown>(
    (value, field) =>
      value !== null && typeof value === "object" && !digits.isRawJSON(value) &&
        Object.hasOwn(value, field)
        ? (value as Record<string, unknown>)[field]
        : undefined,
    find(name),
  );
}
