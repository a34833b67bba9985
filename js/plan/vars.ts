// `((.:name))`: variables that are known when a step runs. `((name))`: those of a task's file.

import type { Json, Scope } from "ext:ci/plan/types.ts";

/** The same value with variables replaced. A text that is nothing but a variable takes its type. */
export function resolved<T>(value: T, vars: ReadonlyMap<string, unknown>): T {
  if (!(JSON.stringify(value) ?? "").includes("((.:")) {
    return value;
  }
  return replaced(value, /\(\(\.:([^()]+)\)\)/, (reference) => {
    const found = lookup(reference, (name) => vars.get(name));
    if (found === undefined) {
      throw new Error(`the variable \`.:${reference}\` has no value here`);
    }
    return found;
  }) as T;
}

/** A task's file with the `vars` of the task. */
export function filled(value: unknown, vars: Json, file: string): unknown {
  return replaced(value, /\(\(([\w.-]+)\)\)/, (reference) => {
    const found = Object.hasOwn(vars, reference)
      ? vars[reference]
      : lookup(reference, (name) => Object.hasOwn(vars, name) ? vars[name] : undefined);
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

/** Replaces what `reference` finds in texts by what `find` makes of it. */
function replaced(value: unknown, reference: RegExp, find: (name: string) => unknown): unknown {
  if (typeof value === "string") {
    const found = reference.exec(value);
    if (found !== null && found[0] === value) {
      return find(found[1]?.trim() ?? "");
    }
    const all = new RegExp(reference, "g");
    return value.replace(all, (_, name: string) => shown(find(name.trim())));
  }
  if (Array.isArray(value)) {
    return value.map((item) => replaced(item, reference, find));
  }
  return value !== null && typeof value === "object"
    ? Object.fromEntries(
      Object.entries(value).map(([name, field]) => [name, replaced(field, reference, find)]),
    )
    : value;
}

/** `name.field.field` */
function lookup(reference: string, find: (name: string) => unknown): unknown {
  const [name = "", ...fields] = reference.split(".");
  return fields.reduce<unknown>(
    (value, field) => (value as Record<string, unknown> | null | undefined)?.[field],
    find(name),
  );
}
