// What the Rust side offers. Generated from `src/script/ops/` by its tests: to update it,
// run `UPDATE=1 cargo nextest run --release ops_are_declared`.

export type CommandRequest = { path: string, args: Array<string>, user: string | null, };

export type MountRequest = { volume: string, path: string, readOnly: boolean, };

export type LimitsRequest = { 
/**
 * In cores.
 */
cpu: number | null, 
/**
 * In bytes.
 */
memory: number | null, };

export type ContainerRequest = { image: string, env: Array<[string, string]>, 
/**
 * Names of variables, and of their secrets.
 */
secretEnv: Array<[string, string]>, mounts: Array<MountRequest>, 
/**
 * Paths of files, and names of the secrets in them.
 */
secrets: Array<[string, string]>, workDir: string | null, privileged: boolean, 
/**
 * Whether it reaches no network.
 */
offline: boolean, limits: LimitsRequest, };

export type ExecutionRequest = { command: CommandRequest, 
/**
 * What the command was made of, if the pipeline gave a script.
 */
script: string | null, stdin: Uint8Array | null, 
/**
 * The name of the secret that the command reads instead.
 */
secretStdin: string | null, timeoutMs: number | null, 
/**
 * The timeout of a step, if the task's is what is left of that. It counts from this call then, and not
 * from the start of the command.
 */
leftOfMs: number | null, 
/**
 * Whether it starts although the run is to end.
 */
cleanup: boolean, 
/**
 * Whether the pipeline tries again if it fails.
 */
willRetry: boolean, 
/**
 * Whether the output is asked for with `op_task_output` while the task runs.
 */
streamOutput: boolean, 
/**
 * The step of a pipeline in YAML that it belongs to.
 */
step: number | null, };

export type TaskRequest = { name: string, container: ContainerRequest, execution: ExecutionRequest, };

export type SandboxRequest = { name: string, user: string | null, container: ContainerRequest, };

export type SandboxInfo = { 
/**
 * How the other ops know it.
 */
number: number, id: string, };

export type ExecRequest = { name: string | null, env: Array<[string, string]>, 
/**
 * Names of variables, and of their secrets.
 */
secretEnv: Array<[string, string]>, workDir: string | null, execution: ExecutionRequest, };

export type TaskResult = { code: number, stdout: string, stderr: string, status: "complete" | "abort", signal: string | null, timedOut: boolean, message: string, durationMs: number, truncated: boolean, };

export type OutputChunk = { stream: "stdout" | "stderr", data: string, };

export type SourceRequest = { 
/**
 * The name of an `--input`; the project otherwise.
 */
input: string | null, path: string | null, include: Array<string>, exclude: Array<string>, ignored: boolean, git: boolean, };

export type FileRequest = { volume: string, path: string, };

export type PublishRequest = { name: string, volume: string, path: string, 
/**
 * Whether the name is that of an `--output`, which says where it goes.
 */
isOutput: boolean, };

export type VolumeRequest = { name: string | null, 
/**
 * In bytes.
 */
size: number | null, };

export type VolumeInfo = { name: string, path: string, };

export type PipelineContext = { runId: string, pipelineId: string, driverName: string, 
/**
 * Whether tasks run in container images.
 */
hasImages: boolean, args: Array<string>, };

export type PlanEvent = { "kind": "job_started", job: string, } | { "kind": "job_finished", job: string, status: "success" | "failure" | "error" | "abort", reasons: Array<string>, } | { "kind": "job_skipped", job: string, reason: string, } | { "kind": "step_started", job: string, 
/**
 * Unique in the run.
 */
step: number, 
/**
 * The key of the step, such as `get`.
 */
action: string, name: string, 
/**
 * Counted from 1.
 */
attempt: number, } | { "kind": "step_finished", job: string, step: number, status: "success" | "failure" | "error" | "abort", };

export interface Ops {
  op_console_write(stream: "stdout" | "stderr", text: string): void;
  op_pipeline_context(): PipelineContext;
  op_default_image(): string | null;
  op_program(): string;
  op_run_clock(): number;
  op_pipeline_check(name: string, text: string, vars: string): string | null;
  op_plan_event(event: PlanEvent): void;
  op_random_fill(buffer: Uint8Array): void;
  op_random_uuid(): string;
  op_sandbox_open(request: SandboxRequest): Promise<SandboxInfo>;
  op_sandbox_exec(sandbox: number, request: ExecRequest): number;
  op_sandbox_close(sandbox: number): Promise<void>;
  op_secret_problem(name: string): string | null;
  op_task_start(request: TaskRequest): number;
  op_task_output(task: number): Promise<OutputChunk | null>;
  op_task_wait(task: number): Promise<TaskResult>;
  op_task_cancel(task: number, listens: boolean): void;
  op_memory_hold(buffer: ArrayBuffer, bytes: number): boolean;
  op_memory_hold_clone(): boolean;
  op_memory_left(): number;
  op_utf8_length(text: string): number;
  op_duration_ms(text: string): number | null;
  op_size_bytes(text: string): number | null;
  op_suggestion(word: string, known: readonly string[]): string | null;
  op_text_diff(actual: string, expected: string): string;
  op_yaml_parse(text: string): unknown;
  op_yaml_to_json(text: string): string;
  op_yaml_stringify(value: unknown): string;
  op_source_import(request: SourceRequest): Promise<VolumeInfo>;
  op_artifact_publish(request: PublishRequest): Promise<string>;
  op_file_read(request: FileRequest): Promise<Uint8Array>;
  op_files_hash(patterns: readonly string[]): Promise<string>;
  op_volume_create(request: VolumeRequest): Promise<VolumeInfo>;
  op_volume_name_error(name: string): string | null;
}
