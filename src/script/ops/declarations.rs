//! Keeps `js/ops.gen.ts` current, so that the TypeScript compiler sees the ops as they are.

use deno_core::OpDecl;
use ts_rs::{Config, TS};

use super::context::PipelineContext;
use super::files::{FileRequest, PublishRequest, SourceRequest};
use super::plan::PlanEvent;
use super::sandboxes::{ExecRequest, SandboxInfo, SandboxRequest};
use super::tasks::{
    CommandRequest, ContainerRequest, ExecutionRequest, LimitsRequest, MountRequest, OutputChunk,
    TaskRequest, TaskResult,
};
use super::volumes::{VolumeInfo, VolumeRequest};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/js/ops.gen.ts");

/// Name, arguments and result of each op. The types come from Rust; so do the names, the numbers
/// of arguments and what is asynchronous, which a test compares.
const OPS: &[(&str, &[&str], &str)] = &[
    ("op_console_write", &["stream: \"stdout\" | \"stderr\"", "text: string"], "void"),
    ("op_pipeline_context", &[], "PipelineContext"),
    ("op_default_image", &[], "string | null"),
    ("op_program", &[], "string"),
    ("op_run_clock", &[], "number"),
    ("op_pipeline_check", &["name: string", "text: string", "vars: string"], "string | null"),
    ("op_plan_event", &["event: PlanEvent"], "void"),
    ("op_random_fill", &["buffer: Uint8Array"], "void"),
    ("op_random_uuid", &[], "string"),
    ("op_sandbox_open", &["request: SandboxRequest"], "Promise<SandboxInfo>"),
    ("op_sandbox_exec", &["sandbox: number", "request: ExecRequest"], "number"),
    ("op_sandbox_close", &["sandbox: number"], "Promise<void>"),
    ("op_secret_problem", &["name: string"], "string | null"),
    ("op_task_start", &["request: TaskRequest"], "number"),
    ("op_task_output", &["task: number"], "Promise<OutputChunk | null>"),
    ("op_task_wait", &["task: number"], "Promise<TaskResult>"),
    ("op_task_cancel", &["task: number", "listens: boolean"], "void"),
    ("op_memory_hold", &["buffer: ArrayBuffer", "bytes: number"], "boolean"),
    ("op_memory_hold_clone", &[], "boolean"),
    ("op_memory_left", &[], "number"),
    ("op_utf8_length", &["text: string"], "number"),
    ("op_duration_ms", &["text: string"], "number | null"),
    ("op_size_bytes", &["text: string"], "number | null"),
    ("op_suggestion", &["word: string", "known: readonly string[]"], "string | null"),
    ("op_text_diff", &["actual: string", "expected: string"], "string"),
    ("op_yaml_parse", &["text: string"], "unknown"),
    ("op_yaml_to_json", &["text: string"], "string"),
    ("op_yaml_stringify", &["value: unknown"], "string"),
    ("op_source_import", &["request: SourceRequest"], "Promise<VolumeInfo>"),
    ("op_artifact_publish", &["request: PublishRequest"], "Promise<string>"),
    ("op_file_read", &["request: FileRequest"], "Promise<Uint8Array>"),
    ("op_files_hash", &["patterns: readonly string[]"], "Promise<string>"),
    ("op_volume_create", &["request: VolumeRequest"], "Promise<VolumeInfo>"),
    ("op_volume_name_error", &["name: string"], "string | null"),
];

fn declarations() -> String {
    let config = Config::default();
    let mut text = String::from(
        "// What the Rust side offers. Generated from `src/script/ops/` by its tests: to update it,\n\
         // run `UPDATE=1 cargo nextest run --release ops_are_declared`.\n\n",
    );
    for declaration in [
        CommandRequest::decl(&config),
        MountRequest::decl(&config),
        LimitsRequest::decl(&config),
        ContainerRequest::decl(&config),
        ExecutionRequest::decl(&config),
        TaskRequest::decl(&config),
        SandboxRequest::decl(&config),
        SandboxInfo::decl(&config),
        ExecRequest::decl(&config),
        TaskResult::decl(&config),
        OutputChunk::decl(&config),
        SourceRequest::decl(&config),
        FileRequest::decl(&config),
        PublishRequest::decl(&config),
        VolumeRequest::decl(&config),
        VolumeInfo::decl(&config),
        PipelineContext::decl(&config),
        PlanEvent::decl(&config),
    ] {
        text.push_str(&format!("export {declaration}\n\n"));
    }
    text.push_str("export interface Ops {\n");
    for (name, arguments, result) in OPS {
        text.push_str(&format!("  {name}({}): {result};\n", arguments.join(", ")));
    }
    text.push_str("}\n");
    text
}

#[test]
fn ops_are_declared() {
    let text = declarations();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(FILE, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(FILE).unwrap(), text);
}

#[test]
fn declarations_match_the_ops() {
    let extension = super::ci_ops::init();
    let registered: Vec<(&str, bool)> =
        extension.ops.iter().map(|op: &OpDecl| (op.name, op.is_async)).collect();
    let declared: Vec<(&str, bool)> =
        OPS.iter().map(|(name, _, result)| (*name, result.starts_with("Promise<"))).collect();
    assert_eq!(registered, declared);

    for (op, (name, arguments, _)) in extension.ops.iter().zip(OPS) {
        // Rust also counts the state, the scope and, for an asynchronous op, its promise.
        let hidden = usize::from(op.arg_count) - usize::from(op.is_async) - arguments.len();
        assert!(hidden <= 2, "{name} takes {} arguments in Rust", op.arg_count);
    }
}
