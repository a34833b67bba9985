// Whether what reads a value is the console, or the message of a failed check.

let depth = 0;

/** Whether values are read for a person, and not by the pipeline. */
export function isPrinting(): boolean {
  return depth > 0;
}

/** Calls what prints. A result that it reads does not count as looked at. */
export function printing<T>(print: () => T): T {
  depth += 1;
  try {
    return print();
  } finally {
    depth -= 1;
  }
}
