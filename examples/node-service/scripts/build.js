// Puts all that the service needs to run into dist: its code, its dependencies and its version.

import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

const { name, type, engines, dependencies } = JSON.parse(readFileSync("package.json", "utf8"));
const version = readFileSync("VERSION", "utf8").trim();

// The directory itself may be a mount, so its content is removed.
mkdirSync("dist", { recursive: true });
for (const entry of readdirSync("dist")) rmSync(join("dist", entry), { recursive: true });

cpSync("src", "dist/src", { recursive: true });
cpSync("VERSION", "dist/VERSION");
cpSync("node_modules", "dist/node_modules", {
  recursive: true,
  dereference: true,
  // `.bin` and npm's own notes are for development.
  filter: (path) => !basename(path).startsWith("."),
});
const manifest = { name, version, private: true, type, engines, dependencies };
for (const name of Object.keys(dependencies)) {
  manifest.dependencies[name] = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")).version;
}
writeFileSync("dist/package.json", `${JSON.stringify(manifest, null, 2)}\n`);
process.stdout.write(`built ${name} ${version}\n`);
