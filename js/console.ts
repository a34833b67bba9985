// The global `console`: deno_web's, without colours, writing to the run's own log.

import { core } from "ext:core/mod.js";
import { printable } from "ext:ci/inspect.ts";
import { ops } from "ext:ci/ops.ts";
import { printing } from "ext:ci/printing.ts";

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
    const write = all[method] as (...args: unknown[]) => void;
    Object.assign(console, { [method]: never(method, write) });
  }
  Object.defineProperty(console, Symbol.toStringTag, { value: "console", configurable: true });
  return console;
}

/** The most letters of one text that a line of the log repeats. */
const LONGEST_TEXT = 16 * 1024 * 1024;

/** A method that prints something whatever it is given, and never throws. */
function never(
  method: string,
  write: (...args: unknown[]) => void,
): (...args: unknown[]) => void {
  const named = {
    [method]: (...args: unknown[]): void =>
      printing(() => {
        try {
          write(...args.map(safe));
        } catch {
          try {
            write(...args.map((value) => printable(value)));
          } catch {
            print(`console.${method}: the arguments cannot be shown\n`, WARN);
          }
        }
      }),
  };
  return named[method] as (...args: unknown[]) => void;
}

/** What can be printed in the place of a value, which is the value itself if it can. */
function safe(value: unknown): unknown {
  if (typeof value !== "string") {
    const isObject = typeof value === "function" || (typeof value === "object" && value !== null);
    return isObject ? printable(value) : value;
  }
  // Several long texts in one call make a line that is longer than any of them.
  if (value.length <= LONGEST_TEXT) {
    return value;
  }
  const left = value.length - LONGEST_TEXT;
  return `${value.slice(0, LONGEST_TEXT)}\u2026 (${left} letters left out)`;
}
