// The entry of the snapshot, and the one file that writes to the global object.

import { assert } from "ext:ci/assert.ts";
import { AssertionError } from "ext:ci/assertion_error.ts";
import { pipelineContext } from "ext:ci/context.ts";
import { call } from "ext:ci/call.ts";
import { core } from "ext:core/mod.js";
import { disposal, message, startErrors } from "ext:ci/errors.ts";
import { startFailures, unreadFailures } from "ext:ci/failures.ts";
import { intervalsLeft, longWait, pipelineSettled } from "ext:ci/pending.ts";
import { classes, startGlobals, values } from "ext:ci/globals.ts";
import { interpret } from "ext:ci/plan/interpret.ts";
import { runtime } from "ext:ci/runtime.ts";
import { YAML } from "ext:ci/yaml.ts";

/** How many frames an error keeps. V8's own ten end inside of a test helper or a promise chain. */
const STACK_FRAMES = 20;

// As on any platform: a program may replace these.
for (const [name, value] of Object.entries(classes)) {
  define(name, { value, writable: true, configurable: true });
}
for (const [name, value] of Object.entries(values)) {
  define(name, { value, writable: true, enumerable: true, configurable: true });
}

// The API of `ci`, which nothing may replace.
for (const [name, value] of Object.entries({ assert, AssertionError, runtime, YAML })) {
  define(name, { value, enumerable: true });
}

// The snapshot serves every run, so what is known of one run is asked for when it is needed.
define("pipelineContext", {
  get: () => {
    const value = pipelineContext();
    define("pipelineContext", { value, configurable: false });
    return value;
  },
  enumerable: true,
  configurable: true,
});

// The host takes this first where the pipeline is a plan: it makes a pipeline of one.
define("__ciInterpret", { value: interpret, configurable: true });

// The host evaluates this once, after it registered its ops and before it evaluates a pipeline. What
// is left of the engine's own setup goes away with it, so that a pipeline has no way to an op. The
// result is what the host calls, by the names of `Entry` in `src/script/engine.rs`.
define("__ciStart", {
  value: () => {
    startGlobals();
    startErrors();
    startFailures();
    // Not part of the snapshot.
    (core.ops as { op_set_format_exception_callback(format: typeof message): void })
      .op_set_format_exception_callback(message);
    // V8 adds this property to the context that it makes from a snapshot, so it cannot be in there.
    Error.stackTraceLimit = STACK_FRAMES;
    // The last two keep memory that no limit of the run reaches, and a pipeline has no threads.
    for (
      const name of [
        "__ciInterpret",
        "__ciStart",
        "__bootstrap",
        "Deno",
        "SharedArrayBuffer",
        "WebAssembly",
      ]
    ) {
      Reflect.deleteProperty(globalThis, name);
    }
    return { call, disposal, intervalsLeft, longWait, pipelineSettled, unreadFailures };
  },
  configurable: true,
});

function define(name: string, property: PropertyDescriptor): void {
  Object.defineProperty(globalThis, name, property);
}
