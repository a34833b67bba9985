// The host's side of the runtime.
//
// The host registers its ops when a run starts, long after these modules were evaluated into the
// snapshot. So each one is looked up when it is called.

import { core } from "ext:core/mod.js";
import type { Ops } from "ext:ci/ops.gen.ts";

const NAMES: Record<keyof Ops, true> = {
  op_artifact_publish: true,
  op_console_write: true,
  op_default_image: true,
  op_duration_ms: true,
  op_file_read: true,
  op_files_hash: true,
  op_memory_hold: true,
  op_memory_hold_clone: true,
  op_memory_left: true,
  op_pipeline_check: true,
  op_pipeline_context: true,
  op_plan_event: true,
  op_program: true,
  op_random_fill: true,
  op_random_uuid: true,
  op_run_clock: true,
  op_sandbox_close: true,
  op_sandbox_exec: true,
  op_sandbox_open: true,
  op_secret_problem: true,
  op_size_bytes: true,
  op_source_import: true,
  op_suggestion: true,
  op_task_cancel: true,
  op_task_output: true,
  op_task_start: true,
  op_task_wait: true,
  op_text_diff: true,
  op_utf8_length: true,
  op_volume_create: true,
  op_volume_name_error: true,
  op_yaml_parse: true,
  op_yaml_to_json: true,
  op_yaml_stringify: true,
};

type Op = (...args: readonly unknown[]) => unknown;

// As the platform has it. A spread would ask the iterator of arrays, which a pipeline may replace.
const { apply } = Reflect;

/**
 * The ops of this project.
 *
 * They are called as plain functions: an op that is called as a method would show its receiver, the
 * object that holds every op of the engine, to a pipeline that replaced `Function.prototype.call`.
 */
export const ops = Object.fromEntries(
  Object.keys(NAMES).map((name) => [
    name,
    (...args: readonly unknown[]) => {
      const op = (core.ops as Record<string, Op>)[name] as Op;
      return apply(op, undefined, args);
    },
  ]),
) as unknown as Ops;
