// The global `console`: deno_web's, without colours, writing to the run's own log.

import { core } from "ext:core/mod.js";
import { ops } from "ext:ci/ops.ts";

const web = core.loadExtScript("ext:deno_web/01_console.js");

// Reporters decide what a line looks like; escape codes would end up in files and in JSON.
web.setNoColorFns(() => true, () => true);

/** From this level on, `warn` and above, a text belongs on the error output. */
const WARN = 2;

const METHODS = [
  "assert",
  "count",
  "countReset",
  "debug",
  "dir",
  "dirxml",
  "error",
  "group",
  "groupCollapsed",
  "groupEnd",
  "info",
  "log",
  "table",
  "time",
  "timeEnd",
  "timeLog",
  "trace",
  "warn",
] as const satisfies ReadonlyArray<keyof Console>;

/** The start of a line whose end has not come yet; `trace` writes the end by itself. */
let unfinished = "";

function print(text: string, level: number): void {
  unfinished += text;
  if (unfinished.endsWith("\n")) {
    const lines = unfinished;
    unfinished = "";
    ops.op_console_write(level >= WARN ? "stderr" : "stdout", lines);
  }
}

/** The methods that make sense without a terminal and an inspector. */
export function newConsole(): Console {
  const all = new web.Console(print);
  const console = { clear: () => undefined } as Console;
  for (const method of METHODS) {
    Object.assign(console, { [method]: all[method] });
  }
  Object.defineProperty(console, Symbol.toStringTag, { value: "console", configurable: true });
  return console;
}
