// Where things are in the repository.

import { fileURLToPath } from "node:url";

const root = new URL("../../", import.meta.url);

/** The absolute path of a file, given relative to the repository. */
export function inRepository(path) {
  return fileURLToPath(new URL(path, root));
}
