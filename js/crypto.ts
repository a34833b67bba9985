// The two functions of `crypto` that a pipeline needs.

import { core } from "ext:core/mod.js";
import { ops } from "ext:ci/ops.ts";

const { DOMException, QuotaExceededError } = core.loadExtScript(
  "ext:deno_web/01_dom_exception.js",
) as {
  readonly DOMException: new (message: string, name: string) => Error;
  readonly QuotaExceededError: new (message: string) => Error;
};

/** The limit of the Web Cryptography API, in bytes. */
const MAX_BYTES = 65_536;

function getRandomValues<T extends ArrayBufferView | null>(array: T): T {
  if (
    !ArrayBuffer.isView(array) || array instanceof DataView ||
    array instanceof Float32Array || array instanceof Float64Array
  ) {
    throw new DOMException("expected a typed array of integers", "TypeMismatchError");
  }
  if (array.byteLength > MAX_BYTES) {
    throw new QuotaExceededError(
      `expected at most ${MAX_BYTES} bytes, got ${array.byteLength}, call it several times`,
    );
  }
  ops.op_random_fill(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  return array;
}

function randomUUID(): string {
  return ops.op_random_uuid();
}

export const crypto = Object.freeze({ getRandomValues, randomUUID });
