/**
 * The globals that a pipeline has besides the language's own (`lib: ["ES2023"]`) and those of
 * `ci.d.ts`. There is no file system, no network and no environment: tasks have those.
 *
 * A project that also includes TypeScript's `dom` library keeps its declarations: then those here
 * step aside. They promise more than a pipeline has, so leave `dom` out where you can.
 *
 * @packageDocumentation
 */

/**
 * The declarations behind the globals, under a name of their own because the global names belong to
 * `dom` where that is present, which is recognised by its `onmessage`.
 */
declare namespace CiGlobals {
  /** The members of a global interface, unless the `dom` library declares it. */
  type Members<Ours> = typeof globalThis extends { onmessage: any } ? {} : Ours;

  interface Console {
    /**
     * Writes `Assertion failed` and the data to the error output when the condition is falsy.
     *
     * @example console.assert(count > 0, "no tests ran");
     */
    assert(condition?: boolean, ...data: unknown[]): void;

    /** Does nothing: a run's log cannot be cleared. */
    clear(): void;

    /**
     * Writes how often it was called with this label.
     *
     * @example console.count("retry"); // retry: 1
     */
    count(label?: string): void;

    /** Lets the label's count start again. */
    countReset(label?: string): void;

    /** The same as `log`. */
    debug(...data: unknown[]): void;

    /**
     * Writes one value.
     *
     * @example console.dir(result, { depth: 10 });
     */
    dir(item?: unknown, options?: { depth?: number; showHidden?: boolean; sorted?: boolean }): void;

    /** The same as `log`. */
    dirxml(...data: unknown[]): void;

    /** The same as `log`, to the error output. */
    error(...data: unknown[]): void;

    /**
     * Indents what follows, up to `groupEnd`.
     *
     * @example
     * console.group("artifacts");
     * console.log("app.tar");
     * console.groupEnd();
     */
    group(...data: unknown[]): void;

    /** The same as `group`. */
    groupCollapsed(...data: unknown[]): void;

    /** Ends the last `group`. */
    groupEnd(): void;

    /** The same as `log`. */
    info(...data: unknown[]): void;

    /**
     * Writes a line to the run's log. A first text may contain `%s`, `%d`, `%i`, `%f`, `%j`, `%o`,
     * `%O`, `%c` and `%%`. Values that are not text are inspected.
     *
     * @example console.log("%d tests in %s", 12, { suite: "unit" });
     */
    log(...data: unknown[]): void;

    /**
     * Writes the rows of an array or of an object as a table.
     *
     * @example console.table([{ task: "build", ms: 1200 }, { task: "test", ms: 800 }]);
     */
    table(data?: unknown, properties?: string[]): void;

    /**
     * Starts a stopwatch.
     *
     * @example
     * console.time("build");
     * await build();
     * console.timeEnd("build"); // build: 1203ms
     */
    time(label?: string): void;

    /** Stops a stopwatch and writes what it shows. */
    timeEnd(label?: string): void;

    /** Writes what a stopwatch shows, and the data. */
    timeLog(label?: string, ...data: unknown[]): void;

    /** Writes the data and the stack to the error output. */
    trace(...data: unknown[]): void;

    /** The same as `log`, to the error output. */
    warn(...data: unknown[]): void;
  }

  interface Performance {
    /** When the run started, in milliseconds since 1970. */
    readonly timeOrigin: number;

    /**
     * Milliseconds since the run started, never running backwards.
     *
     * @example
     * const start = performance.now();
     * await build();
     * console.log(`built in ${performance.now() - start} ms`);
     */
    now(): number;

    /**
     * Remembers a moment by its name.
     *
     * @example performance.mark("built");
     */
    mark(name: string, options?: { detail?: any; startTime?: number }): PerformanceMark;

    /**
     * Remembers the time between two moments: the names of marks, or the start of the run and now.
     *
     * @example const { duration } = performance.measure("build", "started", "built");
     */
    measure(name: string, start?: string, end?: string): PerformanceMeasure;

    /** All marks and measures, in the order in which they were made. */
    getEntries(): PerformanceEntry[];
    /** Those of a name. */
    getEntriesByName(name: string, type?: string): PerformanceEntry[];
    /** Those of a type: `mark` or `measure`. */
    getEntriesByType(type: string): PerformanceEntry[];
    /** Forgets all marks, or those of a name. */
    clearMarks(name?: string): void;
    /** Forgets all measures, or those of a name. */
    clearMeasures(name?: string): void;
  }

  interface PerformanceEntry {
    readonly name: string;
    /** `mark` or `measure`. */
    readonly entryType: string;
    /** In milliseconds since the run started. */
    readonly startTime: number;
    /** In milliseconds. */
    readonly duration: number;
  }

  interface PerformanceMark extends PerformanceEntry {
    readonly detail: any;
  }

  interface PerformanceMeasure extends PerformanceEntry {
    readonly detail: any;
  }

  interface Crypto {
    /**
     * Fills an array of integers with random bytes that nobody can predict, and returns it. Throws
     * a `QuotaExceededError` for more than 65536 bytes.
     *
     * @example crypto.getRandomValues(new Uint8Array(16));
     */
    getRandomValues<T extends ArrayBufferView | null>(array: T): T;

    /**
     * A random UUID (version 4).
     *
     * @example const name = `build-${crypto.randomUUID()}`;
     */
    randomUUID(): `${string}-${string}-${string}-${string}-${string}`;
  }

  interface URL {
    /** The fragment with its `#`, or an empty text. */
    hash: string;
    /** The host name and, when it is not the scheme's own, the port. */
    host: string;
    hostname: string;
    /** The whole URL. */
    href: string;
    /** The scheme, the host name and the port. */
    readonly origin: string;
    password: string;
    pathname: string;
    port: string;
    /** The scheme with its `:`. */
    protocol: string;
    /** The query with its `?`, or an empty text. */
    search: string;
    /** The query's parameters; changing them changes the URL. */
    readonly searchParams: globalThis.URLSearchParams;
    username: string;
    toJSON(): string;
    toString(): string;
  }

  interface URLConstructor {
    readonly prototype: globalThis.URL;
    /**
     * Throws a `TypeError` when the text is not a URL.
     *
     * @example new URL("../v2/app.tar", "https://example.com/v1/").pathname; // "/v2/app.tar"
     */
    new (url: string | globalThis.URL, base?: string | globalThis.URL): globalThis.URL;
    /** Whether `new URL` would succeed. */
    canParse(url: string | globalThis.URL, base?: string | globalThis.URL): boolean;
    /** The URL, or `null` where `new URL` would throw. */
    parse(url: string | globalThis.URL, base?: string | globalThis.URL): globalThis.URL | null;
  }

  interface URLSearchParams extends Iterable<[string, string]> {
    /** How many parameters there are. */
    readonly size: number;
    append(name: string, value: string): void;
    delete(name: string, value?: string): void;
    entries(): IterableIterator<[string, string]>;
    forEach(
      callback: (value: string, key: string, parent: globalThis.URLSearchParams) => void,
      thisArg?: unknown,
    ): void;
    get(name: string): string | null;
    getAll(name: string): string[];
    has(name: string, value?: string): boolean;
    keys(): IterableIterator<string>;
    set(name: string, value: string): void;
    sort(): void;
    toString(): string;
    values(): IterableIterator<string>;
    [Symbol.iterator](): IterableIterator<[string, string]>;
  }

  interface URLSearchParamsConstructor {
    readonly prototype: globalThis.URLSearchParams;
    /** @example new URLSearchParams({ q: "ci" }).toString(); // "q=ci" */
    new (
      init?:
        | Iterable<readonly [string, string]>
        | Readonly<Record<string, string>>
        | string
        | globalThis.URLSearchParams,
    ): globalThis.URLSearchParams;
  }

  interface TextEncoder {
    /** Always `utf-8`. */
    readonly encoding: string;
    /** The text as UTF-8. */
    encode(input?: string): Uint8Array<ArrayBuffer>;
    /** Writes as much of the text as fits. */
    encodeInto(source: string, destination: Uint8Array): { read: number; written: number };
  }

  interface TextEncoderConstructor {
    readonly prototype: globalThis.TextEncoder;
    /** @example new TextEncoder().encode("é").length; // 2 */
    new (): globalThis.TextEncoder;
  }

  interface TextDecoder {
    /** The encoding's name in lower case. */
    readonly encoding: string;
    readonly fatal: boolean;
    readonly ignoreBOM: boolean;
    /** The bytes as text. Throws a `TypeError` for wrong bytes when `fatal` is set. */
    decode(input?: ArrayBuffer | ArrayBufferView, options?: { stream?: boolean }): string;
  }

  interface TextDecoderConstructor {
    readonly prototype: globalThis.TextDecoder;
    /** @example new TextDecoder("utf-8", { fatal: true }).decode(bytes); */
    new (
      label?: string,
      options?: { fatal?: boolean; ignoreBOM?: boolean },
    ): globalThis.TextDecoder;
  }

  interface EventInit {
    bubbles?: boolean;
    cancelable?: boolean;
    composed?: boolean;
  }

  interface Event {
    readonly cancelable: boolean;
    readonly currentTarget: globalThis.EventTarget | null;
    readonly defaultPrevented: boolean;
    readonly target: globalThis.EventTarget | null;
    /** In milliseconds since the run started. */
    readonly timeStamp: number;
    readonly type: string;
    preventDefault(): void;
    stopImmediatePropagation(): void;
    stopPropagation(): void;
  }

  interface EventConstructor {
    readonly prototype: globalThis.Event;
    /** @example new Event("done"); */
    new (type: string, init?: EventInit): globalThis.Event;
  }

  interface CustomEvent<T> extends globalThis.Event {
    /** What the event carries. */
    readonly detail: T;
  }

  interface CustomEventConstructor {
    readonly prototype: globalThis.CustomEvent;
    /** @example new CustomEvent("progress", { detail: { percent: 50 } }); */
    new <T>(type: string, init?: EventInit & { detail?: T }): globalThis.CustomEvent<T>;
  }

  type EventListener =
    | ((event: globalThis.Event) => void)
    | { handleEvent(event: globalThis.Event): void };

  interface AddEventListenerOptions {
    capture?: boolean;
    once?: boolean;
    passive?: boolean;
    signal?: globalThis.AbortSignal;
  }

  interface EventTarget {
    addEventListener(
      type: string,
      listener: EventListener | null,
      options?: boolean | AddEventListenerOptions,
    ): void;
    /** Calls the listeners. Returns whether none of them prevented the default. */
    dispatchEvent(event: globalThis.Event): boolean;
    removeEventListener(
      type: string,
      listener: EventListener | null,
      options?: boolean | { capture?: boolean },
    ): void;
  }

  interface EventTargetConstructor {
    readonly prototype: globalThis.EventTarget;
    /** @example class Watcher extends EventTarget {} */
    new (): globalThis.EventTarget;
  }

  interface AbortSignal extends globalThis.EventTarget {
    /** Whether the abort happened. */
    readonly aborted: boolean;
    /** Called when the abort happens. */
    onabort: ((this: globalThis.AbortSignal, event: globalThis.Event) => unknown) | null;
    /** What was handed to `abort`, or an `AbortError`. */
    readonly reason: any;
    /** Throws `reason` when the abort happened. */
    throwIfAborted(): void;
  }

  interface AbortSignalConstructor {
    readonly prototype: globalThis.AbortSignal;
    /** A signal whose abort happened. */
    abort(reason?: unknown): globalThis.AbortSignal;
    /** A signal that aborts with the first of these. */
    any(signals: Iterable<globalThis.AbortSignal>): globalThis.AbortSignal;
    /**
     * A signal that aborts after this many milliseconds. It does not keep the run going once the
     * pipeline has settled.
     *
     * @example AbortSignal.timeout(5_000);
     */
    timeout(milliseconds: number): globalThis.AbortSignal;
  }

  interface AbortController {
    /** The signal that `abort` aborts. */
    readonly signal: globalThis.AbortSignal;
    abort(reason?: unknown): void;
  }

  interface AbortControllerConstructor {
    readonly prototype: globalThis.AbortController;
    /** @example new AbortController().abort(new Error("no longer needed")); */
    new (): globalThis.AbortController;
  }

  interface DOMException extends Error {
    /** A number for old names, 0 for others. */
    readonly code: number;
    readonly message: string;
    readonly name: string;
  }

  interface DOMExceptionConstructor {
    readonly prototype: globalThis.DOMException;
    /** @example new DOMException("took too long", "TimeoutError"); */
    new (message?: string, name?: string): globalThis.DOMException;
  }
}

interface AbortController extends CiGlobals.Members<CiGlobals.AbortController> {}
/** Tells several operations at once that their result is not needed any more. */
declare var AbortController: typeof globalThis extends {
  onmessage: any;
  AbortController: infer Dom;
}
  ? Dom
  : CiGlobals.AbortControllerConstructor;

interface AbortSignal extends CiGlobals.Members<CiGlobals.AbortSignal> {}
/** What an {@link AbortController} or a timeout aborts. */
declare var AbortSignal: typeof globalThis extends { onmessage: any; AbortSignal: infer Dom }
  ? Dom
  : CiGlobals.AbortSignalConstructor;

interface Console extends CiGlobals.Members<CiGlobals.Console> {}
/**
 * Writes to the run's log.
 *
 * @example console.log("hello from run %s", pipelineContext.runID);
 */
declare var console: Console;

interface Crypto extends CiGlobals.Members<CiGlobals.Crypto> {}
/**
 * Random values that nobody can predict.
 *
 * @example crypto.randomUUID();
 */
declare var crypto: Crypto;

interface CustomEvent<T = any> extends CiGlobals.Members<CiGlobals.CustomEvent<T>> {}
/** An event that carries a value. */
declare var CustomEvent: typeof globalThis extends { onmessage: any; CustomEvent: infer Dom }
  ? Dom
  : CiGlobals.CustomEventConstructor;

interface DOMException extends CiGlobals.Members<CiGlobals.DOMException> {}
/** The errors of the web platform's functions, told apart by their names. */
declare var DOMException: typeof globalThis extends { onmessage: any; DOMException: infer Dom }
  ? Dom
  : CiGlobals.DOMExceptionConstructor;

interface Event extends CiGlobals.Members<CiGlobals.Event> {}
/** What {@link EventTarget.dispatchEvent} hands to listeners. */
declare var Event: typeof globalThis extends { onmessage: any; Event: infer Dom }
  ? Dom
  : CiGlobals.EventConstructor;

interface EventTarget extends CiGlobals.Members<CiGlobals.EventTarget> {}
/** An object that calls listeners when something happens to it. */
declare var EventTarget: typeof globalThis extends { onmessage: any; EventTarget: infer Dom }
  ? Dom
  : CiGlobals.EventTargetConstructor;

interface Performance extends CiGlobals.Members<CiGlobals.Performance> {}
/**
 * The run's clock.
 *
 * @example performance.now();
 */
declare var performance: Performance;

interface TextDecoder extends CiGlobals.Members<CiGlobals.TextDecoder> {}
/** Turns bytes into text. */
declare var TextDecoder: typeof globalThis extends { onmessage: any; TextDecoder: infer Dom }
  ? Dom
  : CiGlobals.TextDecoderConstructor;

interface TextEncoder extends CiGlobals.Members<CiGlobals.TextEncoder> {}
/** Turns text into UTF-8. */
declare var TextEncoder: typeof globalThis extends { onmessage: any; TextEncoder: infer Dom }
  ? Dom
  : CiGlobals.TextEncoderConstructor;

interface URL extends CiGlobals.Members<CiGlobals.URL> {}
/** A URL and its parts. */
declare var URL: typeof globalThis extends { onmessage: any; URL: infer Dom }
  ? Dom
  : CiGlobals.URLConstructor;

interface URLSearchParams extends CiGlobals.Members<CiGlobals.URLSearchParams> {}
/** The parameters of a URL's query. */
declare var URLSearchParams: typeof globalThis extends {
  onmessage: any;
  URLSearchParams: infer Dom;
}
  ? Dom
  : CiGlobals.URLSearchParamsConstructor;

/**
 * Text of base64 as a text with one character for each byte. Throws an `InvalidCharacterError`.
 *
 * @example atob("aGk="); // "hi"
 */
declare function atob(data: string): string;

/**
 * A text with one character for each byte as base64. Throws an `InvalidCharacterError` for others.
 *
 * @example btoa("hi"); // "aGk="
 */
declare function btoa(data: string): string;

/** Ends what `setInterval` started. */
declare function clearInterval(id: number | undefined): void;

/** Takes back what `setTimeout` planned. */
declare function clearTimeout(id: number | undefined): void;

/**
 * Calls a function before anything else that is waiting.
 *
 * @example queueMicrotask(() => console.log("soon"));
 */
declare function queueMicrotask(callback: () => void): void;

/**
 * Ends the run with an error, as an error does that nobody caught.
 *
 * @example reportError(new Error("the watcher died"));
 */
declare function reportError(error: unknown): void;

/**
 * Calls a function again and again, every so many milliseconds, until `clearInterval`. An interval does
 * not keep the run going: when the pipeline has settled, and everything that it did not wait for, an
 * interval that nobody has cleared fails the run.
 *
 * @example const id = setInterval(() => console.log("still building"), 30_000);
 */
declare function setInterval<A extends unknown[]>(
  callback: (...args: A) => void,
  milliseconds?: number,
  ...args: A
): number;

/**
 * Calls a function after so many milliseconds. The run goes on until then, also when the pipeline has
 * settled; `clearTimeout` takes that back.
 *
 * @example await new Promise<void>((resolve) => setTimeout(resolve, 1_000));
 */
declare function setTimeout<A extends unknown[]>(
  callback: (...args: A) => void,
  milliseconds?: number,
  ...args: A
): number;

/**
 * A deep copy of a value. Throws a `DataCloneError` for functions and symbols. There is no other
 * thread, so there is nothing to transfer.
 *
 * @example const copy = structuredClone({ when: new Date(), tags: new Set(["a"]) });
 */
declare function structuredClone<T>(value: T): T;

/**
 * What a module knows about itself.
 *
 * @example const here = import.meta.dirname;
 */
interface ImportMeta {
  /** The module's place as a `file:` URL. */
  url: string;

  /** The module's path on this machine. */
  filename: string;

  /** The directory of the module on this machine. */
  dirname: string;

  /** What an import of this specifier from this module would load, as a URL. */
  resolve(specifier: string): string;
}

/** The symbols that a newer library (`lib: ["ESNext.Disposable"]`) declares in the same way. */
interface SymbolConstructor {
  /** The method that `using` calls at the end of its block. */
  readonly dispose: unique symbol;

  /** The method that `await using` calls at the end of its block, and waits for. */
  readonly asyncDispose: unique symbol;
}

/** What `using` takes. */
interface Disposable {
  [Symbol.dispose](): void;
}

/** What `await using` takes. */
interface AsyncDisposable {
  [Symbol.asyncDispose](): PromiseLike<void>;
}
