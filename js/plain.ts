// Values of a pipeline as data that every format has words for.

import type { Field } from "ext:ci/field.ts";

type Plain = null | boolean | number | string | Plain[] | { [key: string]: Plain };

/** Deep enough for any document, and far from what exhausts a stack. */
const MAX_LEVELS = 128;

/** A copy that consists of objects, arrays and primitives alone. */
export function plain(field: Field): Plain {
  return copied(field, []);
}

/** `above` are the objects that contain this one. */
function copied(field: Field, above: readonly object[]): Plain {
  const value = field.value;
  switch (typeof value) {
    case "boolean":
    case "string":
      return value;
    case "number":
      if (!Number.isFinite(value)) {
        throw field.error(`expected a finite number, got ${value}`);
      }
      return value;
    case "object":
      return value === null ? null : copiedObject(field, value, above);
    default:
      throw field.expected("plain data");
  }
}

function copiedObject(field: Field, value: object, above: readonly object[]): Plain {
  if (above.includes(value)) {
    throw field.error("expected plain data, got an object that contains itself");
  }
  if (above.length === MAX_LEVELS) {
    throw field.error(`expected at most ${MAX_LEVELS} levels`);
  }
  const inside = [...above, value];
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return copied(field.with(value.toJSON()), inside);
  }
  if (Array.isArray(value)) {
    return Array.from(value, (_, index) => copied(field.index(index), inside));
  }
  const tag = Object.prototype.toString.call(value).slice("[object ".length, -1);
  if (tag !== "Object") {
    throw field.error(`expected plain data, got ${tag}`);
  }
  // Without a prototype, so that `__proto__` is a key like any other.
  const copy = Object.create(null) as { [key: string]: Plain };
  for (const key of Object.keys(value)) {
    const property = field.key(key);
    if (property.value !== undefined) {
      copy[key] = copied(property, inside);
    }
  }
  return copy;
}
