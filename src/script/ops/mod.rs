//! What the code in `js/` can ask of the Rust side.
//!
//! Each op reads its arguments, calls the library and maps the error. `js/ops.gen.ts` declares
//! them for the TypeScript compiler; a test keeps it current.

mod console;
mod context;
mod files;
mod memory;
mod plan;
mod random;
mod sandboxes;
mod secrets;
mod tasks;
mod text;
mod volumes;
mod yaml;

#[cfg(test)]
mod declarations;

use std::rc::Rc;

pub use memory::Resizable;
use sandboxes::Sandboxes;
pub use tasks::Tasks;

deno_core::extension!(
    ci_ops,
    ops = [
        console::op_console_write,
        context::op_pipeline_context,
        context::op_default_image,
        context::op_program,
        context::op_run_clock,
        plan::op_pipeline_check,
        plan::op_plan_event,
        random::op_random_fill,
        random::op_random_uuid,
        sandboxes::op_sandbox_open,
        sandboxes::op_sandbox_exec,
        sandboxes::op_sandbox_close,
        secrets::op_secret_problem,
        tasks::op_task_start,
        tasks::op_task_output,
        tasks::op_task_wait,
        tasks::op_task_cancel,
        memory::op_memory_hold,
        memory::op_memory_hold_clone,
        memory::op_memory_left,
        memory::op_utf8_length,
        text::op_duration_ms,
        text::op_size_bytes,
        text::op_suggestion,
        text::op_text_diff,
        yaml::op_yaml_parse,
        yaml::op_yaml_to_json,
        yaml::op_yaml_stringify,
        files::op_source_import,
        files::op_artifact_publish,
        files::op_file_read,
        files::op_files_hash,
        volumes::op_volume_create,
        volumes::op_volume_name_error,
    ],
    state = |state| {
        state.put(Tasks::default());
        state.put(Sandboxes::default());
        state.put(Rc::new(Resizable::default()));
    },
);
