// The timers that a pipeline has set, for the time after it has settled.
//
// Code behind a timeout is a part of the pipeline, so the run goes on until it was called. An interval
// never ends by itself: one that is left when nothing else is fails the run. What `AbortSignal.timeout`
// waits for bounds something else, and keeps nothing alive once the pipeline has settled.

import { CallSite, type Entry } from "ext:ci/call_site.ts";

// As the platform has it: a pipeline may replace it with a clock of its own.
const { now } = Date;

/** How long the user waits for a timeout without hearing of it, in milliseconds. */
const BRIEF = 10_000;

interface Timeout {
  readonly site: CallSite;
  /** When it fires, in milliseconds. */
  readonly due: number;
}

interface Interval {
  readonly site: CallSite;
  /** Lets the event loop end although the interval goes on. */
  readonly unref: () => void;
}

const timeouts = new Map<number, Timeout>();
const intervals = new Map<number, Interval>();

/** The signals of `AbortSignal.timeout` that have not fired, and what lets the event loop end before. */
const signals = new Map<AbortSignal, () => void>();

let settledAt: number | undefined;

/** Whether there are timeouts that `longWait` has not seen. */
let isNew = true;

/** Remembers a timeout until `forgetTimer` is called. */
export function rememberTimeout(id: number, entry: Entry, delay: unknown): void {
  const wait = typeof delay === "number" && delay > 0 ? delay : 0;
  timeouts.set(id, { site: new CallSite(entry), due: now() + wait });
  isNew = true;
}

/** Remembers an interval until `forgetTimer` is called. */
export function rememberInterval(id: number, entry: Entry, unref: () => void): void {
  intervals.set(id, { site: new CallSite(entry), unref });
  if (hasSettled()) {
    unref();
  }
}

/** The timer was cleared, or has fired for the last time. */
export function forgetTimer(id: number): void {
  timeouts.delete(id);
  intervals.delete(id);
}

/** Remembers a signal until `forgetSignal` is called. */
export function rememberSignal(signal: AbortSignal, unref: () => void): void {
  signals.set(signal, unref);
}

/** The signal has fired. */
export function forgetSignal(signal: AbortSignal): void {
  signals.delete(signal);
}

/** Lets the event loop end although signals go on that have listeners. */
export function unrefSignals(): void {
  signals.forEach((unref) => unref());
}

export function hasSettled(): boolean {
  return settledAt !== undefined;
}

/** The pipeline has settled: from now on only timeouts keep the event loop alive. */
export function pipelineSettled(): void {
  settledAt = now();
  intervals.forEach(({ unref }) => unref());
  unrefSignals();
}

/** An error at the place of the timeout that fires last, if the user should hear of that. */
export function longWait(): unknown {
  if (!isNew) {
    return undefined;
  }
  isNew = false;
  let last: Timeout | undefined;
  for (const timeout of timeouts.values()) {
    last = last === undefined || timeout.due > last.due ? timeout : last;
  }
  return last !== undefined && last.due > (settledAt ?? 0) + BRIEF
    ? last.site.adopt(new Error("it is waited for"))
    : undefined;
}

/** For each interval that goes on an error at the place where it was set. */
export function intervalsLeft(): unknown[] {
  return Array.from(
    intervals.values(),
    ({ site }) => site.adopt(new Error("an interval goes on after the pipeline has ended")),
  );
}
