// `runtime.secret`: a value that tasks get, and that the pipeline's own code never has.

import type { Entry } from "ext:ci/call_site.ts";
import { nonEmpty } from "ext:ci/checks.ts";
import { Field } from "ext:ci/field.ts";
import { ops } from "ext:ci/ops.ts";

const entry: Entry = { name: "runtime.secret", function: secret };

const MASK = "***";

/** Knows the name of a secret. The value stays with the host. */
class SecretName {
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
    Object.freeze(this);
  }

  /** The name of a secret; `null` for any other value. */
  static of(value: unknown): string | null {
    return typeof value === "object" && value !== null && #name in value ? value.#name : null;
  }

  /** A text with `***` in it would go on to where the value is needed, and fail there. */
  [Symbol.toPrimitive](): never {
    throw new TypeError(
      `the secret \`${this.#name}\` cannot become a part of a text; hand it over by itself in \`env\`, ` +
        "`stdin` or `secrets`, and let the task put the text together",
    );
  }

  toJSON(): string {
    return MASK;
  }

  [Symbol.for("Deno.privateCustomInspect")](): string {
    return `Secret(${MASK})`;
  }
}
Object.freeze(SecretName.prototype);
Object.freeze(SecretName);

/** The name of a secret; `null` for any other value. */
export const secretName = SecretName.of;

/** See the typings. */
export function secret(name: string): Secret {
  const field = new Field<string>(entry, name);
  const checked = nonEmpty("the name of a `--secret`")(field);
  const problem = ops.op_secret_problem(checked);
  if (problem !== null) {
    throw field.error(problem);
  }
  return new SecretName(checked) as unknown as Secret;
}

/** Paths of files, and the names of the secrets in them. */
export function secretFiles(
  field: Field<NonNullable<ContainerOptions["secrets"]>>,
): Array<[string, string]> {
  if (field.value === null || typeof field.value !== "object" || Array.isArray(field.value)) {
    throw field.expected("object from paths to secrets");
  }
  return Object.keys(field.value).map((path) => {
    const file = field.key<Secret>(path);
    if (path === "" || path.includes("\0")) {
      throw field.error("expected paths of files, without NUL characters");
    }
    const name = secretName(file.value);
    if (name === null) {
      throw file.expected('`runtime.secret("NAME")`');
    }
    return [path, name];
  });
}
