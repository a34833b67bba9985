// What steps are made of. The fields are those of the YAML format; docs/yaml.md describes them.

/** How a step ended: `failure` is an exit code other than 0, `error` is what could not be run. */
export type Outcome = "success" | "failure" | "error" | "abort";

/** A step that is ready to run. */
export type Step = (scope: Scope) => Promise<Outcome>;

/** Where steps run: what earlier steps left, and what holds for all steps in here. */
export interface Scope {
  readonly job: JobRun;
  readonly artifacts: Map<string, Artifact>;
  readonly vars: Map<string, unknown>;
  /** What `across` adds to the environment of tasks. */
  readonly env: Readonly<Record<string, string>>;
  /** What `across` adds to the names of tasks. */
  readonly suffix: string;
  /** How many combinations of `across` there are, of which this is one. */
  readonly combinations: number;
  readonly signal: AbortSignal;
  /** As `clock.now()` has it. */
  readonly deadline: number;
  /** The timeout that the deadline comes from, in ms. */
  readonly timeout?: number | undefined;
  /** Whether tasks start although the run is to end. */
  readonly cleanup: boolean;
  /** Whether what fails in here is tried again. */
  readonly willRetry: boolean;
  /** Runs tasks in place of `runtime.run`. */
  readonly run?: ((options: RunOptions, of?: number) => Promise<RunResult>) | undefined;
  /** Why steps did not succeed. */
  readonly report: Report;
  /** The slots of the steps that run one after the other in here. */
  readonly branch: Branch;
  /**
   * Says that the step will not succeed. Whoever runs others beside it with `fail_fast` ends them
   * then, and not only when the step's hooks have run.
   */
  readonly failing: (outcome: Outcome) => void;
}

/** What steps have to say about themselves. */
export interface Report {
  /** Why steps did not succeed. */
  readonly problems: string[];
  /** Asserts that did not hold. */
  readonly wrong: string[];
}

/** A job of this run. */
export interface JobRun {
  readonly name: string;
  readonly run: Run;
  /** The tasks in the order in which they started. */
  readonly execution: Set<Started>;
  readonly slots: Slots;
}

/** A task that has started, once for each time. */
export interface Started {
  readonly name: string;
}

/** What the jobs of a run share. */
export interface Run {
  readonly options: PipelineOptions;
  readonly slots: Slots;
  /** Aborted when the run itself is to end. */
  readonly stop: AbortController;
  /** Asserts that did not hold. */
  readonly wrong: string[];
  readonly versions: Map<string, Promise<Version>>;
}

/**
 * Waits for one of so many slots, in the order in which they were asked for. Resolves to what gives
 * the slot back, or to nothing if the scope has ended before.
 */
export type Slots = (scope?: Ends) => Promise<Release | undefined>;

/** Gives a slot back. */
export type Release = () => void;

/** What ends the wait for a slot. */
export type Ends = Pick<Scope, "signal" | "deadline">;

/** Steps that run one after the other, and the slots of the last one until its outcome counts. */
export interface Branch {
  release?: Release | undefined;
}

/** A named directory of a job. */
export interface Artifact {
  readonly volume: Volume;
  /** The image that it stands for, if it was fetched as one. */
  readonly image?: string | undefined;
  /** Caches that lie within it, by their paths there. */
  readonly caches?: readonly (readonly [path: string, volume: Volume])[] | undefined;
}

export interface PipelineOptions {
  readonly resources?: readonly Resource[];
  readonly resource_types?: readonly ResourceType[];
  readonly max_in_flight?: number | null;
  readonly assert?: ExecutionAssert | null;
  /** Values of the command line, for the variables of tasks' files. A name may have points. */
  readonly vars?: Json;
  readonly local?: Local;
}

/** Directories of this machine in the place of artifacts. */
export interface Local {
  /** The program that has the types of resources built in. */
  readonly program: string;
  /** The artifact that a job gets from the command line, if there is one of this name. */
  input(name: string, job: JobRun): Promise<Artifact> | undefined;
  /** Writes the artifacts of a job that the command line asks for. */
  publish(scope: Scope): Promise<void>;
  /** What the command line asks for and no job has made. */
  missing(): readonly string[];
  /** What is wrong with a pipeline, as `ci check` tells it; nothing if it is right. */
  check(name: string, text: string, vars: Json): string | null;
}

export interface Job {
  readonly name: string;
  readonly serial_groups?: readonly string[] | undefined;
  readonly max_in_flight?: number | null | undefined;
  readonly assert?: ExecutionAssert | null | undefined;
}

export interface ExecutionAssert {
  readonly execution: readonly string[];
}

export type Json = Readonly<Record<string, unknown>>;

/** A version of a resource, in the terms of its type. */
export type Version = Readonly<Record<string, string>>;

export interface Resource {
  readonly name: string;
  readonly type: string;
  readonly source?: Json;
  readonly version?: unknown;
}

export interface ResourceType {
  readonly name: string;
  readonly type: string;
  readonly source?: Json;
  readonly params?: Json;
  readonly privileged?: boolean | null;
  readonly defaults?: Json;
}

/** Steps that run after another one. */
export interface Hooks {
  readonly ensure?: Step | undefined;
  readonly on_success?: Step | undefined;
  readonly on_failure?: Step | undefined;
  readonly on_error?: Step | undefined;
  readonly on_abort?: Step | undefined;
}

export interface Across {
  readonly var: string;
  readonly values: unknown;
  readonly max_in_flight?: number | "all" | undefined;
}

/** How many steps run at the same time, and whether the first one that fails ends the others. */
export interface Parallel {
  readonly limit?: number | undefined;
  readonly fail_fast?: boolean | undefined;
}

/** Reads the config of a task when it is to run. */
export type ConfigFile = (options: Task, scope: Scope) => Promise<TaskConfig>;

export interface Task {
  readonly task: string;
  readonly image?: string | undefined;
  readonly params?: Readonly<Record<string, string>> | undefined;
  readonly vars?: Json | undefined;
  readonly input_mapping?: Readonly<Record<string, string>> | undefined;
  readonly output_mapping?: Readonly<Record<string, string>> | undefined;
  readonly privileged?: boolean | undefined;
  /** Whether the task has no network. */
  readonly hermetic?: boolean | undefined;
  readonly container_limits?: Limits | undefined;
  readonly parallelism?: number | undefined;
  readonly assert?: TaskAssert | undefined;
}

export interface TaskAssert {
  readonly code?: number;
  readonly stdout?: string;
  readonly stderr?: string;
}

/** An image that is more than a name: it is fetched as a resource of this type. */
export interface ImageResource {
  readonly type: string;
  readonly source?: Json | undefined;
  readonly params?: Json | undefined;
  readonly version?: Version | undefined;
}

export interface TaskConfig {
  readonly image?: string | undefined;
  readonly image_resource?: ImageResource | undefined;
  readonly inputs?: readonly { name: string; path?: string; optional?: boolean }[] | undefined;
  readonly outputs?: readonly { name: string; path?: string }[] | undefined;
  readonly caches?: readonly Cache[] | undefined;
  readonly params?: Readonly<Record<string, string>> | undefined;
  readonly run: {
    /** Without a program, the image's own command runs, with these arguments after its own. */
    readonly path?: string | undefined;
    readonly args?: readonly string[] | undefined;
    readonly dir?: string | undefined;
    readonly user?: string | undefined;
  };
  readonly container_limits?: Limits | undefined;
}

export interface Cache {
  readonly path: string;
  readonly scope?: "path" | "task" | undefined;
}

export interface Limits {
  /** In shares; 1024 are one core. */
  readonly cpu?: number | undefined;
  /** In bytes. */
  readonly memory?: number | undefined;
}

export interface Get {
  readonly get: string;
  readonly resource?: string;
  readonly params?: Json;
  readonly version?: unknown;
  readonly passed?: readonly string[];
}

export interface Put {
  readonly put: string;
  readonly resource?: string;
  readonly params?: Json;
  readonly get_params?: Json;
  readonly inputs?: "all" | "detect" | readonly string[];
  readonly no_get?: boolean;
}

/** Checks a pipeline's file, and succeeds if `ci check` would. */
export interface SetPipeline {
  readonly set_pipeline: string;
  readonly file: string;
  readonly vars?: Json;
  readonly var_files?: readonly string[];
  readonly team?: string;
  readonly instance_vars?: Json;
}

/** A message to a prototype. Such a step is always refused. */
export interface RunMessage {
  readonly run: string;
  readonly type: string;
}

/** What every step of a plan may have. */
export interface Refusable {
  /** Why the step cannot be run: an error of the step when it is reached. */
  readonly refused?: string;
}

export interface LoadVar {
  readonly load_var: string;
  readonly file: string;
  readonly format?: "json" | "yaml" | "yml" | "trim" | "raw";
}
