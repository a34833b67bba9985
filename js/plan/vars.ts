// `((.:name))`: variables that are known when a step runs.

import type { Scope } from "ext:ci/plan/types.ts";

/** The same value with variables replaced. A text that is nothing but a variable takes its type. */
export function resolved<T>(value: T, vars: ReadonlyMap<string, unknown>): T {
  return vars.size === 0 && !mayRefer(value) ? value : replaced(value, vars) as T;
}

/** Adds a variable to those of a scope. */
export function withVar(scope: Scope, name: string, value: unknown): Scope {
  return { ...scope, vars: new Map([...scope.vars, [name, value]]) };
}

/** A value as a task's environment and name hold it. */
export function shown(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value) ?? "";
}

function mayRefer(value: unknown): boolean {
  return (JSON.stringify(value) ?? "").includes("((.:");
}

function replaced(value: unknown, vars: ReadonlyMap<string, unknown>): unknown {
  if (typeof value === "string") {
    const whole = /^\(\(\.:([^()]+)\)\)$/.exec(value);
    if (whole?.[1] !== undefined) {
      return lookup(whole[1], vars);
    }
    return value.replace(/\(\(\.:([^()]+)\)\)/g, (_, name: string) => shown(lookup(name, vars)));
  }
  if (Array.isArray(value)) {
    return value.map((item) => replaced(item, vars));
  }
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(
      Object.entries(value).map(([name, field]) => [name, replaced(field, vars)]),
    );
  }
  return value;
}

function lookup(reference: string, vars: ReadonlyMap<string, unknown>): unknown {
  const [name = "", ...fields] = reference.trim().split(".");
  let value = vars.get(name);
  for (const field of fields) {
    value = (value as Record<string, unknown> | undefined)?.[field];
  }
  if (value === undefined) {
    throw new Error(`the variable \`.:${reference.trim()}\` has no value here`);
  }
  return value;
}
