// The globals that people expect of any JavaScript runtime.
//
// deno_web provides most of them. All of its scripts run while the snapshot is built, so that
// a pipeline that uses them starts as fast as one that does not.

import { core } from "ext:core/mod.js";
import { newConsole } from "ext:ci/console.ts";
import { crypto } from "ext:ci/crypto.ts";
import { copyOfRead } from "ext:ci/failures.ts";
import { LimitedBuffer, reserveForClone } from "ext:ci/memory.ts";
import { clearTimeout, setInterval, setTimeout } from "ext:ci/timers.ts";

const abort = core.loadExtScript("ext:deno_web/03_abort_signal.js");
const base64 = core.loadExtScript("ext:deno_web/05_base64.js");
const encoding = core.loadExtScript("ext:deno_web/08_text_encoding.js");
const event = core.loadExtScript("ext:deno_web/02_event.js");
const exception = core.loadExtScript("ext:deno_web/01_dom_exception.js");
const message = core.loadExtScript("ext:deno_web/13_message_port.js");
const performance = core.loadExtScript("ext:deno_web/15_performance.js");
const url = core.loadExtScript("ext:deno_web/00_url.js");
// Some scripts load others when one of their functions is called, for which it is too late in a run.
for (const script of ["02_structured_clone.js", "06_streams.js"]) {
  core.loadExtScript(`ext:deno_web/${script}`);
}

/** A copy. Nothing can be transferred, because there is no other thread that could receive it. */
function structuredClone(value: unknown, options?: { readonly transfer?: unknown }): unknown {
  if (options?.transfer !== undefined) {
    throw new TypeError("structuredClone: transfer: not supported, leave it out to get a copy");
  }
  if (value !== null && typeof value === "object") {
    reserveForClone();
  }
  return copyOfRead(() => copied(value));
}

const copied = message["structuredClone"] as (value: unknown) => unknown;

/** Classes, which no loop over the global object lists. */
export const classes = {
  AbortController: abort["AbortController"],
  AbortSignal: abort["AbortSignal"],
  ArrayBuffer: LimitedBuffer,
  CustomEvent: event["CustomEvent"],
  DOMException: exception["DOMException"],
  PerformanceEntry: performance["PerformanceEntry"],
  PerformanceMark: performance["PerformanceMark"],
  PerformanceMeasure: performance["PerformanceMeasure"],
  Event: event["Event"],
  EventTarget: event["EventTarget"],
  TextDecoder: encoding["TextDecoder"],
  TextEncoder: encoding["TextEncoder"],
  URL: url["URL"],
  URLSearchParams: url["URLSearchParams"],
};

/** Objects and functions. */
export const values = {
  atob: base64["atob"],
  btoa: base64["btoa"],
  clearInterval: clearTimeout,
  clearTimeout,
  console: newConsole(),
  crypto,
  performance: performance["performance"],
  reportError: core.reportUnhandledException,
  setInterval,
  setTimeout,
  structuredClone,
};

// An event listener that throws ends the run as any other uncaught error does. deno_web asks the
// global object first, which is no event target here.
event.saveGlobalThisReference({
  dispatchEvent: () => true,
});

// The names under which deno_web's Rust side throws exceptions of the web platform.
const DOMException = exception["DOMException"] as new (message: string, name: string) => Error;
for (const name of ["InvalidCharacterError", "InvalidStateError", "SyntaxError"]) {
  core.registerErrorBuilder(`DOMException${name}`, (text) => new DOMException(text, name));
}

/** What can only be known when a run starts. */
export function startGlobals(): void {
  performance.setTimeOrigin();
}
