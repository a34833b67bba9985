// Buffers that V8 or deno_web make without asking the allocator whose limit the host sets.

import { core } from "ext:core/mod.js";
import { ops } from "ext:ci/ops.ts";

const { TextEncoder } = core.loadExtScript("ext:deno_web/08_text_encoding.js") as {
  readonly TextEncoder: { new (): TextEncoder; readonly prototype: TextEncoder };
};

const encoder = new TextEncoder();
const { encodeInto } = TextEncoder.prototype;
const encoding = Object.getOwnPropertyDescriptor(TextEncoder.prototype, "encoding")?.get;

/** A text as UTF-8, in a buffer from the limited allocator. */
export function encoded(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(ops.op_utf8_length(text));
  Reflect.apply(encodeInto, encoder, [text, bytes]);
  return bytes;
}

function encode(this: unknown, input: unknown = ""): Uint8Array<ArrayBuffer> {
  // Throws what the platform has for a receiver that is no encoder.
  Reflect.apply(encoding as () => string, this, []);
  return encoded(`${input as string}`);
}

Object.defineProperty(TextEncoder.prototype, "encode", {
  value: encode,
  writable: true,
  enumerable: true,
  configurable: true,
});

// As the platform has them: a pipeline may replace any of these.
const PlainBuffer = ArrayBuffer;
const { apply, construct } = Reflect;
const { transfer } = PlainBuffer.prototype;
const isResizable = getter("resizable");
const maximum = getter("maxByteLength");

function getter(name: keyof ArrayBuffer): () => unknown {
  const property = Object.getOwnPropertyDescriptor(PlainBuffer.prototype, name);
  return property?.get as () => unknown;
}

/**
 * Counts a resizable buffer with all that it may grow to, until it is collected or detached. V8 reserves
 * its memory by itself.
 */
function held(buffer: ArrayBuffer): ArrayBuffer {
  const counts = apply(isResizable, buffer, []) as boolean;
  if (counts && !ops.op_memory_hold(buffer, apply(maximum, buffer, []) as number)) {
    throw exhausted();
  }
  return buffer;
}

function exhausted(): RangeError {
  return new RangeError(
    "Array buffer allocation failed: the pipeline needs more memory than its limit, " +
      "keep less or raise it with `--js-heap`",
  );
}

const LimitedBuffer = new Proxy(PlainBuffer, {
  construct: (target, args, newTarget) =>
    held(construct(target, args, newTarget) as ArrayBuffer),
});
PlainBuffer.prototype.constructor = LimitedBuffer;

Object.defineProperty(PlainBuffer.prototype, "transfer", {
  value: function (this: ArrayBuffer, ...args: [number?]): ArrayBuffer {
    // What comes out of a resizable buffer is resizable too.
    return held(apply(transfer, this, args) as ArrayBuffer);
  },
  writable: true,
  configurable: true,
});

/**
 * Counts what a structured clone may copy of resizable buffers. Which of them are part of the value
 * cannot be seen from outside, and neither can for how long their copies live.
 */
export function reserveForClone(): void {
  if (!ops.op_memory_hold_clone()) {
    throw exhausted();
  }
}

export { LimitedBuffer };
