// What these sources use of deno_core's own module and of deno_web's scripts.

declare module "ext:core/mod.js" {
  /** Properties of a class or of the global object, as `Object.defineProperty` takes them. */
  type Exports = Readonly<Record<string, unknown>>;

  export const core: Core;

  interface Core {
    /** Filled by the host when the runtime starts, and empty of our ops before that. */
    readonly ops: object;

    /** Runs a script of deno_web once, and returns what it exports. */
    loadExtScript(specifier: "ext:deno_web/01_console.js"): Exports & {
      readonly Console: new (print: (text: string, level: number) => void) => Console;
      inspect(value: unknown, options: Readonly<Record<string, unknown>>): string;
      setNoColorFns(stdout: () => boolean, stderr: () => boolean): void;
    };
    loadExtScript(specifier: "ext:deno_web/02_event.js"): Exports & {
      saveGlobalThisReference(target: { dispatchEvent(event: Event): boolean }): void;
    };
    loadExtScript(specifier: "ext:deno_web/15_performance.js"): Exports & {
      setTimeOrigin(): void;
    };
    loadExtScript(specifier: string): Exports;

    /** Lets errors of Rust arrive as what the builder returns. */
    registerErrorBuilder(name: string, builder: (message: string) => Error): void;

    /** Bytes as text; what is not UTF-8 becomes U+FFFD. */
    decode(bytes: Uint8Array): string;

    /** Lets the event loop end although a timer goes on. */
    unrefTimer(timer: object): void;

    /** Ends the run with an error that nobody caught. */
    reportUnhandledException(error: unknown): void;

    isAnyArrayBuffer(value: unknown): value is ArrayBuffer;
    isBoxedPrimitive(value: unknown): boolean;
    isDataView(value: unknown): value is DataView;
    isDate(value: unknown): value is Date;
    isMap(value: unknown): value is Map<unknown, unknown>;
    isNativeError(value: unknown): value is Error;
    isPromise(value: unknown): value is Promise<unknown>;
    isRegExp(value: unknown): value is RegExp;
    isSet(value: unknown): value is Set<unknown>;
    isTypedArray(value: unknown): value is Uint8Array;
    isWeakMap(value: unknown): value is WeakMap<WeakKey, unknown>;
    isWeakSet(value: unknown): value is WeakSet<WeakKey>;
  }
}

interface ErrorConstructor {
  /** Makes `error.stack` start with the function that called `entry`. */
  captureStackTrace(error: object, entry?: Function): void;

  stackTraceLimit: number;
}

interface SuppressedError extends Error {
  /** What the disposal threw. */
  error: unknown;
  /** What the block threw. */
  suppressed: unknown;
}

declare var SuppressedError: new (error: unknown, suppressed: unknown) => SuppressedError;

interface ArrayBuffer {
  readonly maxByteLength: number;
  readonly resizable: boolean;
  transfer(length?: number): ArrayBuffer;
}
