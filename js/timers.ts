// Timers of any length.
//
// deno_web's timers take up to 2^31 - 1 milliseconds, 24.8 days, and fire at once when they are given
// more. A longer time is waited for in parts here.

import { core } from "ext:core/mod.js";
import {
  forgetSignal,
  forgetTimer,
  hasSettled,
  rememberInterval,
  rememberSignal,
  rememberTimeout,
  unrefSignals,
} from "ext:ci/pending.ts";

type Callback = (...args: unknown[]) => unknown;

const web = core.loadExtScript("ext:deno_web/02_timers.js") as {
  readonly setTimeout: (callback: unknown, delay?: unknown, ...args: unknown[]) => number;
  readonly setInterval: (callback: unknown, delay?: unknown, ...args: unknown[]) => number;
  readonly clearTimeout: (id?: unknown) => void;
  readonly refTimer: (id: number) => void;
  readonly unrefTimer: (id: number) => void;
};
// Called as plain functions: as methods they would refuse the object as their `this`.
const startPart = web.setTimeout;
const startInterval = web.setInterval;
const stopPart = web.clearTimeout;
const refPart = web.refTimer;
const unrefPart = web.unrefTimer;
const { AbortSignal: WebSignal, AbortController, add, timerId } = core.loadExtScript(
  "ext:deno_web/03_abort_signal.js",
) as {
  readonly AbortSignal: { prototype: AbortSignal; timeout: (delay: unknown) => AbortSignal };
  readonly AbortController: new () => AbortController;
  readonly add: symbol;
  readonly timerId: symbol;
};
const { DOMException } = core.loadExtScript("ext:deno_web/01_dom_exception.js") as {
  readonly DOMException: new (message: string, name: string) => Error;
};

/** The longest part, in milliseconds. */
const LONGEST = 2 ** 31 - 1;

/** A timer that is waited for in parts. */
interface LongTimer {
  /** The number of the part that is running. */
  part: number;
  /** Whether it keeps the event loop alive. */
  isReferenced: boolean;
}

/** By the number of their first part, which is what a pipeline knows them by. */
const long = new Map<number, LongTimer>();

/** Whether deno_web's timers cannot wait for so long. What it makes of other values is its business. */
function isLong(delay: unknown): delay is number {
  return typeof delay === "number" && delay > LONGEST;
}

/** Lets the event loop end although a timer goes on. */
function unref(id: number): void {
  const timer = long.get(id);
  if (timer !== undefined) {
    timer.isReferenced = false;
  }
  unrefPart(timer?.part ?? id);
}

/** Starts to wait, and calls `fire` at the end. */
function start(delay: number, fire: () => void): { timer: LongTimer; id: number } {
  const timer: LongTimer = { part: 0, isReferenced: true };
  let left = delay;
  const next = () => {
    const part = Math.min(left, LONGEST);
    left -= part;
    timer.part = startPart(left > 0 ? next : fire, part);
    if (!timer.isReferenced) {
      unrefPart(timer.part);
    }
  };
  next();
  long.set(timer.part, timer);
  return { timer, id: timer.part };
}

function called(callback: unknown, args: unknown[]): void {
  if (typeof callback === "function") {
    Reflect.apply(callback as Callback, globalThis, args);
  } else {
    startPart(callback, 0);
  }
}

export function setTimeout(callback: unknown, delay: unknown = 0, ...args: unknown[]): number {
  const code = typeof callback === "function" ? callback : `${callback as string}`;
  const fire = () => {
    long.delete(id);
    forgetTimer(id);
    called(code, args);
  };
  const id: number = isLong(delay) ? start(delay, fire).id : startPart(fire, delay);
  rememberTimeout(id, { name: "setTimeout", function: setTimeout }, delay);
  return id;
}

export function setInterval(callback: unknown, delay: unknown = 0, ...args: unknown[]): number {
  const id = isLong(delay)
    ? startLongInterval(callback, delay, args)
    : startInterval(callback, delay, ...args);
  rememberInterval(id, { name: "setInterval", function: setInterval }, () => unref(id));
  return id;
}

function startLongInterval(callback: unknown, delay: number, args: unknown[]): number {
  const { id } = start(delay, function fire() {
    const timer = long.get(id);
    const again = start(delay, fire);
    long.delete(again.id);
    if (timer !== undefined) {
      // The pipeline knows the interval by its first number only.
      long.set(id, again.timer);
    }
    if (hasSettled()) {
      unref(id);
    }
    called(callback, args);
  });
  return id;
}

export function clearTimeout(id: unknown = 0): void {
  forgetTimer(Number(id));
  const timer = long.get(id as number);
  if (timer === undefined) {
    stopPart(id);
    return;
  }
  long.delete(id as number);
  stopPart(timer.part);
}

const shortSignal = WebSignal.timeout;

function shortTimeout(delay: unknown): AbortSignal {
  const signal = shortSignal(delay) as AbortSignal & Record<symbol, unknown>;
  // An algorithm, unlike a listener, does not keep the event loop alive.
  Reflect.apply(signal[add] as Callback, signal, [() => forgetSignal(signal)]);
  rememberSignal(signal, () => {
    const timer = signal[timerId] as object | null;
    if (timer !== null) {
      core.unrefTimer(timer);
    }
  });
  return signal;
}

const { addEventListener } = WebSignal.prototype;
Object.defineProperty(WebSignal.prototype, "addEventListener", {
  value: function (this: AbortSignal, ...args: Parameters<typeof addEventListener>): void {
    Reflect.apply(addEventListener, this, args);
    // That may have referenced timers of any signal that this one comes from.
    if (hasSettled()) {
      unrefSignals();
    }
  },
  writable: true,
  enumerable: true,
  configurable: true,
});

/** As deno_web's, which keeps the event loop alive only while somebody listens. */
function timeout(delay: unknown): AbortSignal {
  if (!isLong(delay)) {
    return shortTimeout(delay);
  }
  const controller = new AbortController();
  const { signal } = controller;
  const { timer } = start(delay, () => {
    forgetSignal(signal);
    controller.abort(new DOMException("The operation was aborted due to timeout", "TimeoutError"));
  });
  const setReferenced = (isReferenced: boolean) => {
    timer.isReferenced = isReferenced;
    (isReferenced ? refPart : unrefPart)(timer.part);
  };
  rememberSignal(signal, () => setReferenced(false));
  setReferenced(false);
  const listeners = new Set<unknown>();
  const { removeEventListener } = WebSignal.prototype;
  Object.defineProperty(signal, "addEventListener", {
    value: (...args: Parameters<typeof addEventListener>) => {
      Reflect.apply(addEventListener, signal, args);
      if (args[0] === "abort" && args[1]) {
        listeners.add(args[1]);
        setReferenced(!hasSettled());
      }
    },
    configurable: true,
  });
  Object.defineProperty(signal, "removeEventListener", {
    value: (...args: Parameters<typeof removeEventListener>) => {
      Reflect.apply(removeEventListener, signal, args);
      if (args[0] === "abort" && listeners.delete(args[1]) && listeners.size === 0) {
        setReferenced(false);
      }
    },
    configurable: true,
  });
  return signal;
}

Object.defineProperty(WebSignal, "timeout", { value: timeout, writable: true, configurable: true });
