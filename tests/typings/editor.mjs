// Asks a language server what an editor would ask while somebody writes a pipeline.

import { readFile } from "node:fs/promises";

import { inRepository } from "./paths.mjs";
import { LanguageServer } from "./tsserver.mjs";

const file = inRepository("examples/hello-world.ts");

/** What somebody adds to the example; `|` is the cursor and not part of the text. */
const additions = {
  runtime: "runtime.|",
  options: "await runtime.run({ | });",
  sandbox: "await runtime.startSandbox({ | });",
  exec: "(await runtime.startSandbox({ name: 'a', image: 'b' })).exec({ | });",
  command: 'await runtime.run({ name: "a", image: "b", command: { | } });',
  assert: "assert.|",
  global: "pipelineCont|",
  docs: "await runtime.createVol|ume();",
};

export async function checkEditor() {
  const example = await readFile(file, "utf8");
  const server = new LanguageServer();
  try {
    await completes(server, example, "runtime", [
      "artifact",
      "createVolume",
      "hashFiles",
      "readFile",
      "run",
      "secret",
      "source",
      "startSandbox",
    ], "exactly");
    await completes(server, example, "options", [
      "allowFailure",
      "cleanup",
      "command",
      "containerLimits",
      "env",
      "image",
      "mounts",
      "name",
      "network",
      "onOutput",
      "privileged",
      "script",
      "secrets",
      "signal",
      "stdin",
      "timeout",
      "user",
      "willRetry",
      "workDir",
    ], "exactly");
    await completes(server, example, "sandbox", [
      "containerLimits",
      "env",
      "image",
      "mounts",
      "name",
      "network",
      "privileged",
      "secrets",
      "user",
      "workDir",
    ], "exactly");
    await completes(server, example, "exec", [
      "allowFailure",
      "cleanup",
      "command",
      "env",
      "name",
      "onOutput",
      "script",
      "signal",
      "stdin",
      "timeout",
      "user",
      "willRetry",
      "workDir",
    ], "exactly");
    await completes(server, example, "command", ["args", "path", "user"], "exactly");
    await completes(server, example, "assert", [
      "containsElement",
      "containsString",
      "equal",
      "notEqual",
      "truthy",
    ], "exactly");
    await completes(server, example, "global", ["pipelineContext", "runtime", "console", "YAML"]);
    await explains(server, example);
  } finally {
    server.close();
  }
  return "completes and explains `runtime`";
}

/** Opens the example with an addition; returns where the cursor stands. */
async function open(server, example, addition) {
  const [before, after] = addition.split("|");
  const head = `${example}\nexport async function addition() {\n${before}`;
  server.notify("open", {
    file,
    fileContent: `${head}${after}\n}\n`,
    scriptKindName: "TS",
    projectRootPath: inRepository("examples"),
  });
  const info = await server.ask("projectInfo", { file, needFileNameList: false });
  const project = inRepository("examples/tsconfig.json");
  if (info.configFileName !== project) {
    throw new Error(`\`${file}\` belongs to \`${info.configFileName}\`, expected \`${project}\``);
  }
  const lines = head.split("\n");
  return { file, line: lines.length, offset: lines.at(-1).length + 1 };
}

async function completes(server, example, name, expected, how = "among others") {
  const addition = additions[name];
  const place = await open(server, example, addition);
  const { entries } = await server.ask("completionInfo", place);
  const names = entries.map((entry) => entry.name);
  const missing = expected.filter((entry) => !names.includes(entry));
  if (missing.length > 0) {
    throw new Error(`\`${addition}\` does not complete \`${missing.join("`, `")}\``);
  }
  const surplus = names.filter((entry) => !expected.includes(entry));
  if (how === "exactly" && surplus.length > 0) {
    throw new Error(`\`${addition}\` also completes \`${surplus.join("`, `")}\``);
  }
}

async function explains(server, example) {
  const place = await open(server, example, additions.docs);
  const { displayString, documentation, tags } = await server.ask("quickinfo", place);
  const facts = {
    "the signature": displayString.includes("createVolume(options?: VolumeOptions"),
    "the description": documentation.includes("Creates a volume"),
    "the example": tags.some(({ name }) => name === "example"),
    "the option": tags.some(({ name, text }) => name === "param" && text.includes("options")),
  };
  const missing = Object.keys(facts).filter((fact) => !facts[fact]);
  if (missing.length > 0) {
    throw new Error(`the quick info of \`createVolume\` lacks ${missing.join(", ")}`);
  }
}
