// Environment variables.

import { Letters, systemValue } from "ext:ci/checks.ts";
import { type Field, quoted } from "ext:ci/field.ts";
import { secretName } from "ext:ci/secret.ts";

type Environment = NonNullable<RunOptions["env"]>;

/** Names and values in the order in which the pipeline gave them, and names of variables and their secrets. */
export interface Variables {
  readonly env: Array<[string, string]>;
  readonly secretEnv: Array<[string, string]>;
}

export const noVariables = (): Variables => ({ env: [], secretEnv: [] });

export function environment(field: Field<Environment>): Variables {
  if (field.value === null || typeof field.value !== "object" || Array.isArray(field.value)) {
    throw field.expected("object");
  }
  const letters = new Letters();
  const found = noVariables();
  for (const name of Object.keys(field.value)) {
    const variable = field.key<string>(name);
    if (name === "" || name.includes("=") || name.includes("\0")) {
      throw field.error(
        `expected variable names without \`=\` and NUL characters, got ${quoted(name)}`,
      );
    }
    letters.add(field, name);
    const secret = secretName(variable.value);
    if (secret !== null) {
      found.secretEnv.push([name, secret]);
      continue;
    }
    const value = systemValue(variable);
    letters.add(field, value);
    found.env.push([name, value]);
  }
  return found;
}
