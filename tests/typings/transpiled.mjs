// What `ci transpile` prints compiles as any other pipeline does, under the strictest options.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { inRepository } from "./paths.mjs";

const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

export function checkTranspiled() {
  const target = process.env.CARGO_TARGET_DIR ?? inRepository("target");
  const ci = process.env.CI_BINARY ?? `${target}/release/ci`;
  const folder = mkdtempSync(join(tmpdir(), "transpiled-"));
  try {
    const names = readdirSync(inRepository("examples")).filter((name) => name.endsWith(".yml"));
    for (const name of names) {
      const text = execFileSync(ci, ["transpile", inRepository(`examples/${name}`)]);
      writeFileSync(join(folder, name.replace(".yml", ".ts")), text);
    }
    const project = {
      extends: inRepository("examples/tsconfig.json"),
      compilerOptions: { exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
      files: [inRepository("typings/ci.d.ts")],
      include: ["*.ts"],
    };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(project));
    execFileSync(process.execPath, [tsc, "--project", folder, "--pretty", "false"]);
    return `${names.length} examples compile`;
  } catch (error) {
    throw new Error(error.stdout?.toString() || error.message);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
