// The schema of YAML pipelines: it accepts what `ci` accepts, and refuses what an editor can know.

import { readdirSync, readFileSync } from "node:fs";

import Ajv from "ajv";
import { parse } from "yaml";

import { inRepository } from "./paths.mjs";

/** Problems that concern the whole of a document, which no schema can see. */
const BEYOND = /^yaml_(artifacts|cycle|resource_types|tab|not_yaml|unknown_resource_type|vars_missing|job_unknown)$/;

export function checkSchema() {
  const schema = JSON.parse(readFileSync(inRepository("typings/pipeline.schema.json"), "utf8"));
  const validate = new Ajv({ strict: false, allowUnionTypes: true }).compile(schema);
  const good = readdirSync(inRepository("examples"))
    .filter((name) => name.endsWith(".yml"))
    .map((name) => `examples/${name}`);
  const bad = [];
  for (const name of readdirSync(inRepository("tests/scenarios"))) {
    const file = `tests/scenarios/${name}/pipeline.yml`;
    if (name.startsWith("yaml_") && !BEYOND.test(name)) {
      const expected = readFileSync(inRepository(file.replace("pipeline.yml", "expected.snap")), "utf8");
      (expected.includes("exit code: 2") ? bad : good).push(file);
    }
  }
  for (const file of good) {
    if (!validate(document(readFileSync(inRepository(file), "utf8")))) {
      throw new Error(`${file}: ${JSON.stringify(validate.errors, null, 2)}`);
    }
  }
  for (const file of bad) {
    if (validate(document(readFileSync(inRepository(file), "utf8")))) {
      throw new Error(`${file} is accepted`);
    }
  }
  for (const text of REFUSED) {
    if (validate(document(text))) {
      throw new Error(`accepted: ${text}`);
    }
  }
  fields(schema, "");
  return `${good.length} pipelines accepted, ${bad.length + REFUSED.length} refused`;
}

const step = (text) => `jobs: [{ name: a, plan: [${text}] }]`;
const REFUSED = [
  "{}",
  "jobs: {}",
  "jobs: [{ plan: [] }]",
  "jobs: [{ name: a, plan: [], serail: true }]",
  "jobs: [{ name: a, plan: [], max_in_flight: -1 }]",
  step("{ tsk: a }"),
  step("{ get: a, attempts: 0 }"),
  step("{ task: a, config: { imgae: x, run: { path: x } } }"),
  step("{ task: a, timeout: soon, config: { run: { path: x } } }"),
  step("{ get: a, passed: b }"),
  step("{ in_parallel: { steps: [], limt: 1 } }"),
  step("{ do: { task: a } }"),
  step("{ task: a, ensure: { tsk: b }, config: { run: { path: x } } }"),
  step("{ set_pipeline: self }"),
  step("{ run: a }"),
];

function document(text) {
  return parse(text, { merge: true, uniqueKeys: false });
}

/** Every field has a description. */
function fields(schema, path) {
  for (const [name, value] of Object.entries(schema.properties ?? {})) {
    if (typeof value.description !== "string") {
      throw new Error(`${path}.${name} has no description`);
    }
  }
  for (const [name, value] of Object.entries(schema)) {
    if (value !== null && typeof value === "object") {
      fields(value, `${path}/${name}`);
    }
  }
}
