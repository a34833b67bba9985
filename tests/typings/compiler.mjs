// Compiles every project that uses the typings.

import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { promisify } from "node:util";

import { inRepository } from "./paths.mjs";

const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

/** What makes up the runtime. */
const runtime = sourcesIn("js", /^(plan\/)?[^/]+$/);

/** Every pipeline that a user may start from. */
const examples = sourcesIn("examples", /^([^/]+|[^/]+\/pipeline\.\w+)$/);

/** Projects, each with the files that must be part of it. */
const projects = [
  ["js/tsconfig.json", runtime],
  ["examples/tsconfig.json", examples],
  ["tests/typings/tsconfig.json", ["tests/typings/snippets/refused.ts"]],
  ["tests/typings/tsconfig.strictest.json", ["tests/typings/snippets/refused.ts"]],
  ["tests/typings/tsconfig.dom.json", ["tests/typings/snippets/refused.ts"]],
];

export async function checkCompiler() {
  const outcomes = await Promise.all(projects.map(([project, files]) => compile(project, files)));
  const problems = outcomes.filter((problem) => problem !== null);
  if (problems.length > 0) {
    throw new Error(problems.join("\n"));
  }
  return `${projects.length} projects compile, with ${examples.length} examples`;
}

/** The scripts of a folder whose paths in it match. */
function sourcesIn(folder, pattern) {
  return readdirSync(inRepository(folder), { recursive: true })
    .filter((name) => /\.m?[jt]s$/.test(name) && pattern.test(name))
    .map((name) => `${folder}/${name}`);
}

/** What is wrong with a project, or `null`. */
async function compile(project, files) {
  const run = promisify(execFile)(
    process.execPath,
    [tsc, "--project", inRepository(project), "--listFiles", "--pretty", "false"],
    { cwd: inRepository("."), maxBuffer: 64 * 1024 * 1024 },
  );
  const { stdout, failed } = await run.then(
    ({ stdout }) => ({ stdout, failed: false }),
    ({ stdout, message }) => ({ stdout: stdout || message, failed: true }),
  );
  const lines = stdout.trimEnd().split("\n");
  if (failed) {
    // `--listFiles` also lists the files, which are no part of the problem.
    const errors = lines.filter((line) => !/^\/\S.*\.(ts|js|mts|mjs|json)$/.test(line));
    return `\`${project}\` does not compile\n${errors.join("\n")}`;
  }
  const missing = files.filter((file) => !lines.includes(inRepository(file)));
  return missing.length > 0 ? `\`${project}\` does not include \`${missing.join("`, `")}\`` : null;
}
