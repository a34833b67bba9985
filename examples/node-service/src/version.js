import { readFileSync } from "node:fs";

/** The version of the service. */
export const version = readFileSync(new URL("../VERSION", import.meta.url), "utf8").trim();
