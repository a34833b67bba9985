// `runtime.startSandbox`, and what it resolves to.

import { CallSite, type Entry } from "ext:ci/call_site.ts";
import { nonEmpty, optional, record, type Shape } from "ext:ci/checks.ts";
import { environment, noVariables } from "ext:ci/env.ts";
import { rejection } from "ext:ci/failures.ts";
import { Field } from "ext:ci/field.ts";
import { ops } from "ext:ci/ops.ts";
import type { SandboxRequest } from "ext:ci/ops.gen.ts";
import {
  commandShape,
  containerRequest,
  containerShape,
  directory,
  execute,
  user,
} from "ext:ci/task.ts";

const entry: Entry = { name: "runtime.startSandbox", function: startSandbox };

const shape = {
  name: nonEmpty("a sandbox name"),
  user: optional(user),
  ...containerShape,
} satisfies Shape<SandboxOptions>;

const execShape = {
  name: optional(nonEmpty("a task name")),
  env: optional(environment),
  workDir: optional(directory),
  ...commandShape,
} satisfies Shape<ExecFields>;

/** See the typings. Not `async`, so that stacks can be cut where the pipeline called it. */
export function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const site = new CallSite(entry);
  try {
    const checked = record(new Field<SandboxOptions>(entry, options), shape);
    const { name, user } = checked;
    return opened({ name, user, container: containerRequest(checked) }, site);
  } catch (error) {
    return Promise.reject(rejection(null, error, site));
  }
}

async function opened(request: SandboxRequest, site: CallSite): Promise<Sandbox> {
  try {
    const { number, id } = await ops.op_sandbox_open(request);
    return sandbox(number, id, request.name);
  } catch (error) {
    throw rejection(request.name, site.adopt(error), site);
  }
}

/** Its functions need no `this`, as those of `runtime` do not. */
function sandbox(number: number, id: string, sandboxName: string): Sandbox {
  const entry: Entry = { name: "sandbox.exec", function: exec };

  function exec(options: ExecOptions): Promise<RunResult> {
    const site = new CallSite(entry);
    try {
      const field = new Field<ExecFields>(entry, options);
      const checked = record(field, execShape);
      const { name, workDir } = checked;
      const variables = checked.env ?? noVariables();
      return execute(
        name ?? sandboxName,
        field,
        checked,
        site,
        (execution) => ops.op_sandbox_exec(number, { name, ...variables, workDir, execution }),
      );
    } catch (error) {
      return Promise.reject(rejection(null, error, site));
    }
  }

  const close = () => ops.op_sandbox_close(number);
  return Object.freeze({ id, name: sandboxName, exec, close, [Symbol.asyncDispose]: close });
}
