// Structural equality, as `assert.equal` promises it.

import { core } from "ext:core/mod.js";

/** Whether both values have the same structure; primitives are compared as by `Object.is`. */
export function equal(left: unknown, right: unknown): boolean {
  return new Comparison().equal(left, right);
}

type Entries = ReadonlyMap<unknown, unknown>;

const { URL, URLSearchParams } = core.loadExtScript("ext:deno_web/00_url.js") as {
  readonly URL: new () => URL;
  readonly URLSearchParams: new () => URLSearchParams;
};

class Comparison {
  /**
   * The pairs that are being compared further up. Meeting one of them again means that both values
   * refer to themselves in the same way, which is equal as far as this part is concerned.
   */
  readonly #open = new Map<object, object[]>();

  equal(left: unknown, right: unknown): boolean {
    if (Object.is(left, right)) {
      return true;
    }
    if (!isObject(left) || !isObject(right)) {
      return false;
    }
    if (Object.getPrototypeOf(left) !== Object.getPrototypeOf(right)) {
      return false;
    }
    const partners = this.#open.get(left) ?? [];
    if (partners.includes(right)) {
      return true;
    }
    this.#open.set(left, partners);
    partners.push(right);
    try {
      return this.#content(left, right) && this.#properties(left, right);
    } finally {
      partners.pop();
    }
  }

  /** What objects of the language's own classes hold besides their properties. */
  #content(left: object, right: object): boolean {
    if (Array.isArray(left)) {
      return Array.isArray(right) && left.length === right.length;
    }
    if (core.isMap(left)) {
      return core.isMap(right) && this.#entries(left, right);
    }
    if (core.isSet(left)) {
      return core.isSet(right) &&
        this.#entries(new Map(left.entries()), new Map(right.entries()));
    }
    if (core.isDate(left)) {
      return core.isDate(right) && Object.is(left.getTime(), right.getTime());
    }
    if (core.isRegExp(left)) {
      return core.isRegExp(right) && String(left) === String(right) &&
        left.lastIndex === right.lastIndex;
    }
    if (core.isNativeError(left)) {
      return core.isNativeError(right) && left.name === right.name &&
        left.message === right.message && this.equal(left.cause, right.cause) &&
        this.equal(errorsOf(left), errorsOf(right));
    }
    if (core.isBoxedPrimitive(left)) {
      return core.isBoxedPrimitive(right) && Object.is(left.valueOf(), right.valueOf());
    }
    if (core.isAnyArrayBuffer(left)) {
      return core.isAnyArrayBuffer(right) &&
        sameElements(new Uint8Array(left), new Uint8Array(right));
    }
    if (core.isTypedArray(left)) {
      return core.isTypedArray(right) && sameElements(left, right);
    }
    if (core.isDataView(left)) {
      return core.isDataView(right) && sameElements(bytesOf(left), bytesOf(right));
    }
    // What these hold cannot be seen, so they are equal to themselves alone.
    if (core.isPromise(left) || core.isWeakMap(left) || core.isWeakSet(left)) {
      return false;
    }
    // These hold it in private fields, and all of it is in their text.
    if (left instanceof URL || left instanceof URLSearchParams) {
      return String(left) === String(right);
    }
    return true;
  }

  /** Own enumerable properties, symbols included, in any order. */
  #properties(left: object, right: object): boolean {
    // A typed array's elements are properties too, which `#content` has compared already.
    if (core.isTypedArray(left)) {
      return true;
    }
    const keys = enumerableKeys(left);
    return keys.length === enumerableKeys(right).length && keys.every((key) =>
      Object.prototype.propertyIsEnumerable.call(right, key) &&
      this.equal(Reflect.get(left, key), Reflect.get(right, key))
    );
  }

  /** Entries in any order, each with one of its own on the other side. */
  #entries(left: Entries, right: Entries): boolean {
    if (left.size !== right.size) {
      return false;
    }
    const free = new Map(right);
    const searched: Array<readonly [key: unknown, value: unknown]> = [];
    for (const [key, value] of left) {
      if (right.has(key) && this.equal(value, right.get(key))) {
        free.delete(key);
      } else if (isObject(key)) {
        searched.push([key, value]);
      } else {
        // A primitive equals no key but itself.
        return false;
      }
    }
    return searched.every(([key, value]) => {
      for (const [other, content] of free) {
        if (this.equal(key, other) && this.equal(value, content)) {
          return free.delete(other);
        }
      }
      return false;
    });
  }
}

function isObject(value: unknown): value is object {
  return value !== null && typeof value === "object";
}

function enumerableKeys(value: object): PropertyKey[] {
  return Reflect.ownKeys(value).filter((key) =>
    Object.prototype.propertyIsEnumerable.call(value, key)
  );
}

function errorsOf(error: Error): unknown {
  return error instanceof AggregateError ? error.errors : undefined;
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function sameElements(left: ArrayLike<unknown>, right: ArrayLike<unknown>): boolean {
  if (left.length !== right.length) {
    return false;
  }
  for (let index = 0; index < left.length; index++) {
    if (!Object.is(left[index], right[index])) {
      return false;
    }
  }
  return true;
}
