// Environment variables.

import { Letters, systemValue } from "ext:ci/checks.ts";
import { type Field, quoted } from "ext:ci/field.ts";

type Environment = NonNullable<RunOptions["env"]>;

/** Names and values in the order in which the pipeline gave them. */
export function environment(field: Field<Environment>): Array<[string, string]> {
  if (field.value === null || typeof field.value !== "object" || Array.isArray(field.value)) {
    throw field.expected("object");
  }
  const letters = new Letters();
  return Object.keys(field.value).map((name) => {
    const variable = field.key<string>(name);
    if (name === "" || name.includes("=") || name.includes("\0")) {
      throw field.error(
        `expected variable names without \`=\` and NUL characters, got ${quoted(name)}`,
      );
    }
    const value = systemValue(variable);
    letters.add(field, name);
    letters.add(field, value);
    return [name, value];
  });
}
