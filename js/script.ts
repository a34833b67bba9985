// `script`: the lines of a shell, which stops at the first one that fails and says which that was.
//
// No shell tells the line of a script in which it has stopped: dash does not know the number, and bash and
// busybox tell it in ways of their own. So each line notes itself before it runs. That is done only where
// every line is a command of its own by a cautious reading; otherwise the script runs as it is, and the line
// is not told.

import type { CommandRequest } from "ext:ci/ops.gen.ts";

/** How much of a line a message repeats, in letters. */
const SHOWN_LETTERS = 100;

/** Words that open and close a command of several parts. */
const PAIRS = [
  [["if"], ["fi"]],
  [["for", "while", "until", "select"], ["done"]],
  [["case"], ["esac"]],
  [["{"], ["}"]],
] as const;

/**
 * What a note before each line would change: the status or the last word of the line before, what `set` or
 * a trap makes of it, and what a bare `exit` or `return` ends with.
 */
const SEES_NOTES =
  /\$\?|\$\{\?|\$_|\$\{_|PIPESTATUS|LINENO|\b(set|trap|shopt|eval|source|fc|history)\b|(^|[\s;&|(){}])\.\s|\b(exit|return)\b\s*([;&|)}#]|$)/m;

/** The longest script with notes, in letters: they make it longer, and an argument has 128 KiB at most. */
const LONGEST_NOTED = 16 * 1024;

/** The command that runs a script. */
export function scriptCommand(script: string, user: string | null): CommandRequest {
  const lines = script.split("\n");
  const isPlain = script.length <= LONGEST_NOTED && !SEES_NOTES.test(script);
  const text = isPlain && lines.every(isComplete) ? numbered(lines) : script;
  return { path: "sh", args: ["-e", "-c", text], user };
}

/** What a line is without its quotes; `null` if one has no end there, or holds more than text. */
function withoutQuotes(line: string): string | null {
  let nested = false;
  const rest = line.replace(/\\.|'[^']*'|"(?:\\.|[^"\\])*"/g, (part) => {
    nested ||= part.startsWith('"') && /\$[({]|`/.test(part);
    return "_";
  });
  return nested || /['"`]|\\$/.test(rest) ? null : rest;
}

/** Whether a line is one whole command, or several, and leaves nothing open. */
function isComplete(line: string): boolean {
  const text = withoutQuotes(line);
  if (text === null || text.includes("<<")) {
    return false;
  }
  const bare = text.replace(/(^|\s)#.*$/, "");
  const words = bare.split(/[\s;&|()]+/);
  const count = (known: readonly string[]) => words.filter((word) => known.includes(word)).length;
  const isBalanced = PAIRS.every(([open, close]) => count(open) === count(close)) &&
    bare.split("(").length === bare.split(")").length &&
    bare.split("{").length === bare.split("}").length;
  const leansOnAnother = /(^\s*(\||&&|;|&))|((\||&&)\s*$)/.test(bare) || /\(\)\s*$/.test(bare);
  return isBalanced && !leansOnAnother;
}

/** The lines, each of which notes itself first. */
function numbered(lines: readonly string[]): string {
  const told = `printf 'ci: line %s, with exit code %s\\n' "$__ci_line" $__ci_code >&2`;
  const atEnd = `__ci_code=$?; [ $__ci_code = 0 ] || [ -z "$__ci_line" ] || ${told}`;
  const noted = lines.map((line, index) => {
    const text = line.trim();
    if (text === "" || text.startsWith("#")) {
      return line;
    }
    const letters = Array.from(text);
    const shown = letters.length > SHOWN_LETTERS
      ? `${letters.slice(0, SHOWN_LETTERS).join("")}\u2026`
      : text;
    return `__ci_line=${quoted(`${index + 1} of the script failed: ${shown}`)}; ${line}`;
  });
  return `trap ${quoted(atEnd)} EXIT; ${noted.join("\n")}`;
}

/** The text as one word of a shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
