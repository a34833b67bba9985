// Values of a pipeline as data that every format has words for.

import type { Field } from "ext:ci/field.ts";
import { ops } from "ext:ci/ops.ts";

type Plain = null | boolean | number | string | Plain[] | { [key: string]: Plain };

/** Deep enough for any document, and far from what exhausts a stack. */
const MAX_LEVELS = 128;

/** How much memory a value and a letter take until they are text, in bytes. */
const PER_VALUE = 128;
const PER_LETTER = 8;

/** How much memory is left, in bytes. Values that are used in several places are copied for each. */
interface Room {
  left: number;
}

/** A copy that consists of objects, arrays and primitives alone. */
export function plain(field: Field): Plain {
  return copied(field, [], { left: ops.op_memory_left() });
}

function take(field: Field, room: Room, letters: number): void {
  room.left -= PER_VALUE + PER_LETTER * letters;
  if (room.left < 0) {
    throw field.error(
      "the pipeline needs more memory than its limit for so much text, write less at a time or " +
        "raise the limit with `--js-heap`",
    );
  }
}

/** `above` are the objects that contain this one. */
function copied(field: Field, above: readonly object[], room: Room): Plain {
  const value = field.value;
  take(field, room, typeof value === "string" ? value.length : 0);
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
      return value === null ? null : copiedObject(field, value, above, room);
    default:
      throw field.expected("plain data");
  }
}

function copiedObject(
  field: Field,
  value: object,
  above: readonly object[],
  room: Room,
): Plain {
  if (above.includes(value)) {
    throw field.error("expected plain data, got an object that contains itself");
  }
  if (above.length === MAX_LEVELS) {
    throw field.error(`expected at most ${MAX_LEVELS} levels`);
  }
  const inside = [...above, value];
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return copied(field.with(value.toJSON()), inside, room);
  }
  if (Array.isArray(value)) {
    return Array.from(value, (_, index) => copied(field.index(index), inside, room));
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
      take(field, room, key.length);
      copy[key] = copied(property, inside, room);
    }
  }
  return copy;
}
