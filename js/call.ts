// How the host calls a pipeline.

import { inspected } from "ext:ci/inspect.ts";

/** Rejects with an error, whatever the pipeline throws. */
export async function call(pipeline: Pipeline): Promise<void> {
  try {
    await pipeline();
  } catch (thrown) {
    if (isError(thrown)) {
      throw thrown;
    }
    // Shown with its content: of any other value the host can only tell the type.
    const error = new Error(inspected(thrown));
    error.name = "thrown value";
    throw error;
  }
}

/** A proxy may throw when it is asked for its prototype, and is no error then. */
function isError(thrown: unknown): thrown is Error {
  try {
    return thrown instanceof Error;
  } catch {
    return false;
  }
}
