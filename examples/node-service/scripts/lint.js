// Checks the syntax of all files, and rules that reviews should not have to be about.

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const rules = [
  { in: /^(src|packages)\//, pattern: /\bconsole\./, message: "write to process.stdout or process.stderr" },
  { in: /\.test\.js$/, pattern: /\b(test|describe|it)\.only\(/, message: "other tests would be skipped" },
  { in: /^(src|packages)\//, pattern: /\bdebugger\b/, message: "a breakpoint" },
  { in: /./, pattern: /[ \t]+$/, message: "blanks at the end of the line" },
];

const files = ["src", "test", "scripts", "packages"].flatMap(list);
const problems = files.flatMap((file) => [...syntax(file), ...check(file)]);
for (const problem of problems) process.stderr.write(`${problem}\n`);
process.stdout.write(`files: ${files.length}, problems: ${problems.length}\n`);
process.exitCode = problems.length > 0 ? 1 : 0;

function list(directory) {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return entry.name === "node_modules" ? [] : list(path);
    return entry.name.endsWith(".js") ? [path] : [];
  });
}

function syntax(file) {
  try {
    execFileSync(process.execPath, ["--check", file], { stdio: "pipe" });
    return [];
  } catch (error) {
    return [String(error.stderr).trim()];
  }
}

function check(file) {
  const lines = readFileSync(file, "utf8").split("\n");
  const applied = rules.filter((rule) => rule.in.test(file));
  return lines.flatMap((line, index) =>
    applied
      .filter((rule) => rule.pattern.test(line))
      .map((rule) => `${file}:${index + 1}: ${rule.message}`),
  );
}
