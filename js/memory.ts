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

/** Resizable buffers, whose memory V8 reserves by itself, and the bytes that each may grow to. */
let resizable: Array<{ readonly buffer: WeakRef<ArrayBuffer>; readonly bytes: number }> = [];

/** Takes `bytes` from the memory of the pipeline, after giving back those of collected buffers. */
function reserve(bytes: number): void {
  if (ops.op_memory_take(bytes)) {
    return;
  }
  resizable = resizable.filter(({ buffer, bytes }) => {
    const lives = buffer.deref() !== undefined;
    if (!lives) {
      ops.op_memory_give_back(bytes);
    }
    return lives;
  });
  if (!ops.op_memory_take(bytes)) {
    throw new RangeError(
      "Array buffer allocation failed: the pipeline needs more memory than its limit, " +
        "keep less or raise it with `--js-heap`",
    );
  }
}

const PlainBuffer = ArrayBuffer;

/** Every resizable buffer counts with all that it may grow to. */
const LimitedBuffer = new Proxy(PlainBuffer, {
  construct(target, args: [number, { maxByteLength?: unknown }?], newTarget): ArrayBuffer {
    const maximum = args[1]?.maxByteLength;
    if (maximum === undefined) {
      return Reflect.construct(target, [args[0]], newTarget) as ArrayBuffer;
    }
    const bytes = Math.trunc(Number(maximum));
    if (bytes >= 0 && bytes <= Number.MAX_SAFE_INTEGER) {
      reserve(bytes);
    }
    let buffer: ArrayBuffer;
    try {
      buffer = Reflect.construct(target, [args[0], { maxByteLength: bytes }], newTarget);
    } catch (error) {
      ops.op_memory_give_back(bytes);
      throw error;
    }
    resizable.push({ buffer: new WeakRef(buffer), bytes });
    return buffer;
  },
});
PlainBuffer.prototype.constructor = LimitedBuffer;

const transfer = PlainBuffer.prototype.transfer;
Object.defineProperty(PlainBuffer.prototype, "transfer", {
  value: function (this: ArrayBuffer, ...args: [number?]): ArrayBuffer {
    // A copy of a resizable buffer is resizable too, and the memory of both counts.
    const bytes = this.resizable ? this.maxByteLength : 0;
    if (bytes > 0) {
      reserve(bytes);
    }
    const moved = Reflect.apply(transfer, this, args);
    if (bytes > 0) {
      resizable.push({ buffer: new WeakRef(moved), bytes });
    }
    return moved;
  },
  writable: true,
  configurable: true,
});

/**
 * Counts what a structured clone may copy of resizable buffers. Which of them are part of the value
 * cannot be seen from outside, and neither can for how long their copies live.
 */
export function reserveForClone(): void {
  const bytes = resizable.reduce((sum, { bytes }) => sum + bytes, 0);
  if (bytes > 0) {
    reserve(bytes);
  }
}

export { LimitedBuffer };
