// The global `YAML`.

import { CallSite, type Entry } from "ext:ci/call_site.ts";
import { string } from "ext:ci/checks.ts";
import { Field } from "ext:ci/field.ts";
import { ops } from "ext:ci/ops.ts";
import { plain } from "ext:ci/plain.ts";

function parse(text: string): unknown {
  const entry: Entry = { name: "YAML.parse", function: parse };
  const document = string(new Field<string>(entry, text));
  return atCaller(entry, () => ops.op_yaml_parse(document));
}

function asJSON(text: string): string {
  const entry: Entry = { name: "YAML.asJSON", function: asJSON };
  const document = string(new Field<string>(entry, text));
  return atCaller(entry, () => ops.op_yaml_to_json(document));
}

function stringify(value: unknown): string {
  const entry: Entry = { name: "YAML.stringify", function: stringify };
  const data = plain(new Field(entry, value, "value"));
  return atCaller(entry, () => ops.op_yaml_stringify(data));
}

/** What `call` returns, or its error as the caller of `entry` sees it. */
function atCaller<T>(entry: Entry, call: () => T): T {
  const site = new CallSite(entry);
  try {
    return call();
  } catch (error) {
    throw site.adopt(error);
  }
}

export const YAML: Yaml = Object.freeze({ parse, asJSON, stringify });
