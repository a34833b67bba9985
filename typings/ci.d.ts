/**
 * The API of a `ci` pipeline, for editors and compilers.
 *
 * Everything in this file is global: a pipeline imports nothing. An editor finds it through a
 * `tsconfig.json` whose `files` or `include` names it, or through a first line such as
 * `/// <reference path="../typings/ci.d.ts" />`. It needs TypeScript 5.7 or newer, and
 * `lib: ["ES2023"]` or newer. Leave `types` empty: a pipeline has none of Node's globals.
 *
 * @packageDocumentation
 */

/// <reference path="./globals.d.ts" />

/**
 * What a pipeline file exports as `pipeline` or as its default: a function that runs the tasks.
 *
 * The run succeeds when the promise resolves and fails when it rejects. A task that exits with a
 * code other than 0 does not reject by itself: check {@link RunResult.code}. The run also fails when
 * the pipeline never looks at how a failed task ended, or at an error that a call rejected with.
 *
 * What the promise does not wait for is a part of the run too: calls of {@link runtime} and of a sandbox,
 * imports, and `setTimeout`. The run goes on until all of these have ended.
 *
 * @example
 * export const pipeline: Pipeline = async () => {
 *   const build = await runtime.run({
 *     name: "build",
 *     image: "golang:1.24",
 *     command: ["go", "build", "./..."],
 *   });
 *   assert.truthy(build.ok);
 * };
 */
type Pipeline = () => Promise<void> | void;

/**
 * One of the two streams that a task writes to.
 *
 * @example
 * const count: Record<OutputStream, number> = { stdout: 0, stderr: 0 };
 */
type OutputStream = "stdout" | "stderr";

/**
 * A length of time: a number of milliseconds, or text made of numbers with units.
 *
 * The units are `ms`, `s`, `m`, `h` and `d`; several add up, as in `1h 30m`. It is always longer
 * than zero.
 *
 * @example
 * const timeout: Duration = "1h 30m";
 * const same: Duration = 5_400_000;
 */
type Duration =
  | number
  | DurationPart
  | `${DurationPart} ${DurationPart}`
  | `${DurationPart} ${DurationPart} ${DurationPart}`;

/**
 * A number with a unit of time.
 *
 * @example
 * const part: DurationPart = "90s";
 */
type DurationPart = `${number}${"ms" | "s" | "m" | "h" | "d"}`;

/**
 * A number of bytes: a whole number, or text with a unit.
 *
 * `KB`, `MB`, `GB`, `TB` are powers of 1000; `KiB`, `MiB`, `GiB`, `TiB` are powers of 1024. It is
 * always more than zero.
 *
 * @example
 * const memory: Size = "512MB"; // 512_000_000 bytes
 * const volume: Size = "1GiB"; // 1_073_741_824 bytes
 */
type Size =
  | number
  | `${number}${"" | " "}${"B" | "KB" | "MB" | "GB" | "TB" | "KiB" | "MiB" | "GiB" | "TiB"}`;

/**
 * A directory that outlives a task, so that the next task finds what the last one left there.
 *
 * @example
 * const source: Volume = await runtime.createVolume({ name: "source" });
 * const options = { mounts: { src: source } };
 */
interface Volume {
  /** The volume's name: the one that was asked for, or one that the run made up. */
  readonly name: string;

  /** Where the driver keeps the volume, in the driver's own terms. Good for messages. */
  readonly path: string;
}

/**
 * What {@link Runtime.createVolume} takes; every field is optional.
 *
 * @example
 * const options: VolumeOptions = { name: "node_modules", size: "2GiB" };
 */
interface VolumeOptions {
  /**
   * The volume's name: 1 to 512 bytes, without control characters, whose parts between slashes are
   * not empty, `.` or `..`. Asking for the same name again gives the same volume. Without a name
   * the run makes one up, and no other call gets the same volume.
   *
   * @example "node_modules"
   */
  name?: string | undefined;

  /**
   * How much the volume holds at most, where the driver can limit that. To ask for the same volume
   * with another size is an error; without one, the volume has the size that it was created with.
   *
   * @example "1GiB"
   */
  size?: Size | undefined;
}

/**
 * A secret: what {@link Runtime.secret} returns. The pipeline's code has its name and never its value. It is
 * good in `env`, in `stdin` and in `secrets`; it shows as `***`, and putting it into a text throws.
 *
 * @example
 * const token: Secret = runtime.secret("NPM_TOKEN");
 * await runtime.run({ name: "publish", env: { NPM_TOKEN: token }, command: ["npm", "publish"] });
 */
interface Secret {
  /**
   * Throws: a secret cannot become a part of a text. Let the task put the text together.
   *
   * @example
   * const header = `Bearer ${runtime.secret("TOKEN")}`; // throws
   */
  [Symbol.toPrimitive](hint: string): never;

  /**
   * Gives `***`, so that options with a secret in them can be printed.
   *
   * @example
   * console.log(JSON.stringify({ token: runtime.secret("TOKEN") })); // {"token":"***"}
   */
  toJSON(): string;
}

/**
 * What {@link Runtime.source} takes; every field is optional.
 *
 * @example
 * const options: SourceOptions = { path: "web", include: ["**\/*.ts"], git: false };
 */
interface SourceOptions {
  /**
   * The name of a directory that the command line gives with `--input NAME=DIR`. The project by default.
   *
   * @example "shared"
   */
  input?: string | undefined;

  /**
   * A directory of the project, whose content is taken, or one file. The whole project by default. A path
   * that leads out of the project is refused, also by a symbolic link.
   *
   * @example "web"
   */
  path?: string | undefined;

  /**
   * Globs, in the syntax of `.gitignore`, relative to `path`. If there are any, only what matches one of
   * them is taken, with all that is below a directory that matches.
   *
   * @example ["**\/*.ts"]
   */
  include?: readonly string[] | undefined;

  /**
   * Globs of the same syntax. What matches one of them is left out.
   *
   * @example ["**\/*.snap"]
   */
  exclude?: readonly string[] | undefined;

  /**
   * Whether files are taken that `.gitignore`, `.git/info/exclude`, the user's own ignore file or
   * `.ciignore` leave out. Off by default.
   *
   * @example true
   */
  ignored?: boolean | undefined;

  /**
   * Whether `.git` comes along, so that git works in the copy. On by default.
   *
   * @example false
   */
  git?: boolean | undefined;
}

/**
 * What {@link Runtime.artifact} takes.
 *
 * @example
 * const source = await runtime.source();
 * const options: ArtifactOptions = { name: "dist", volume: source, path: "build/dist" };
 */
interface ArtifactOptions {
  /**
   * What the artifact is called in the directory for artifacts: a name without `/` that does not begin
   * with `.`. It takes the place of an older artifact of this name.
   *
   * @example "dist"
   */
  name: string;

  /**
   * The volume that holds it.
   *
   * @example await runtime.source()
   */
  volume: Volume;

  /**
   * A file or a directory of the volume. The whole volume by default.
   *
   * @example "dist"
   */
  path?: string | undefined;
}

/**
 * What {@link Runtime.readFile} takes.
 *
 * @example
 * const options: ReadOptions = { bytes: true };
 */
interface ReadOptions {
  /**
   * Whether the content is bytes and not text. Off by default.
   *
   * @example true
   */
  bytes?: boolean | undefined;
}

/**
 * What a task executes, as an object: the long form of `command: ["go", "test", "./..."]`. No shell is
 * involved unless `path` names one.
 *
 * @example
 * const direct: Command = { path: "go", args: ["test", "./..."] };
 * const shell: Command = { path: "sh", args: ["-c", "make && make check"] };
 */
interface Command {
  /**
   * A path, or a name that is looked up in the task's `PATH`. Not empty. Without one the image's own entrypoint and
   * command run, with `args` behind them, on drivers with images.
   */
  path?: string | undefined;

  /** The arguments, each passed on as it is. None by default. */
  args?: readonly string[] | undefined;

  /**
   * Who runs the command. The same as {@link CommandFields.user}, and not both.
   *
   * @example "1000:1000"
   */
  user?: string | undefined;
}

/**
 * A volume and the place where the task sees it.
 *
 * @example
 * const cache = await runtime.createVolume({ name: "go-build" });
 * const mount: Mount = { name: cache.name, path: ".cache/go-build" };
 */
interface Mount {
  /** The volume's name. */
  name: string;

  /**
   * Where the task sees the volume: relative to the task's directory, whatever its `workDir` is. Mounts
   * may be nested, and `.` puts the volume in the place of the directory. An absolute path is mounted
   * there where the driver can do that, and refused where it cannot. A path that leads out of the
   * directory is refused, and so is one that is used twice.
   *
   * @example "node_modules"
   */
  path: string;

  /**
   * Whether the task sees the volume without being able to change it. Off by default.
   *
   * @example true
   */
  readOnly?: boolean | undefined;
}

/**
 * A volume in the object form of {@link Mounts}, with how the task sees it.
 *
 * @example
 * const source = await runtime.createVolume({ name: "source" });
 * const mounts: Mounts = { src: { volume: source, readOnly: true } };
 */
interface VolumeMount {
  /** The volume. */
  volume: Volume;

  /**
   * Whether the task sees the volume without being able to change it. Off by default.
   *
   * @example true
   */
  readOnly?: boolean | undefined;
}

/**
 * A task's volumes: a list, or an object from paths to volumes. Both mean the same.
 *
 * @example
 * const cache = await runtime.createVolume({ name: "npm" });
 * const list: Mounts = [{ name: cache.name, path: "node_modules" }];
 * const object: Mounts = { node_modules: cache };
 */
type Mounts = readonly Mount[] | { readonly [path: string]: Volume | VolumeMount };

/**
 * Upper bounds on what a task may use, where the driver can enforce them.
 *
 * @example
 * const limits: ContainerLimits = { cpu: 1.5, memory: "512MB" };
 */
interface ContainerLimits {
  /** In cores, more than 0. `0.5` is half of one core's time. */
  cpu?: number | undefined;

  /** In bytes. A task that needs more is ended by the system. */
  memory?: Size | undefined;
}

/**
 * Where commands run: what {@link Runtime.run} and {@link Runtime.startSandbox} both take.
 *
 * @example
 * const node: ContainerOptions = { image: "node:22", env: { CI: "true" } };
 * await runtime.run({ ...node, name: "test", command: ["npm", "test"] });
 */
interface ContainerOptions {
  /**
   * The container image, such as `alpine:3.20`. Not empty. A driver without images, such as the
   * native one, ignores it. A driver with images needs one, here or by `ci run --image`.
   *
   * @example "alpine:3.20"
   */
  image?: string | undefined;

  /**
   * Environment variables. Values are text: write `String(8080)`; or secrets. Nothing of the machine's own
   * environment reaches a task unless the driver is told so.
   *
   * @example { CI: "true", PORT: String(8080) }
   */
  env?: { readonly [name: string]: string | Secret } | undefined;

  /**
   * The volumes that commands see. None by default.
   *
   * @example { node_modules: await runtime.createVolume({ name: "node_modules" }) }
   */
  mounts?: Mounts | undefined;

  /**
   * Files with secrets, by their paths: absolute, or relative to the task's directory. They are in memory,
   * the task's user alone can read them, and they are gone with the task. No volume can have them. Of absolute
   * paths, the native driver takes those below `/run`; the task then sees what is in `/run` at its start.
   *
   * @example { "/run/secrets/key": runtime.secret("KEY") }
   */
  secrets?: { readonly [path: string]: Secret } | undefined;

  /**
   * Where commands start: a path relative to the task's directory, as paths of mounts are. It is made if it
   * is missing. An absolute path takes the place of the task's directory. By default the directory itself.
   *
   * @example "src"
   */
  workDir?: string | undefined;

  /**
   * Whether a container gets the rights of its host. Off by default.
   *
   * @example true
   */
  privileged?: boolean | undefined;

  /**
   * Whether commands reach a network. With `false` they have nothing but a loopback interface of their own, so that
   * what they make depends on their inputs alone. On by default.
   *
   * @example false
   */
  network?: boolean | undefined;

  /**
   * Upper bounds on what the container may use.
   *
   * @example { cpu: 2, memory: "1GiB" }
   */
  containerLimits?: ContainerLimits | undefined;
}

/**
 * What is executed: a command, or a script, and not both.
 *
 * @example
 * const command: Executable = { command: ["npm", "test"] };
 * const script: Executable = { script: "npm ci\nnpm test" };
 */
type Executable =
  | { command: readonly string[] | Command; script?: undefined }
  | { script: string; command?: undefined };

/**
 * What is executed, and how: what {@link Runtime.run} and {@link Sandbox.exec} both take.
 *
 * @example
 * const build: CommandFields = { command: ["make", "-j2"], timeout: "10m" };
 */
interface CommandFields {
  /**
   * What to execute: a program and its arguments. The program is a path, or a name that is looked up in
   * the task's `PATH`. No shell is involved.
   *
   * @example ["npm", "test"]
   */
  command?: readonly string[] | Command | undefined;

  /**
   * Lines for a shell, `sh -e`, instead of a command. It stops at the first line that fails. Where each
   * line is a command of its own, the error output tells which one that was.
   *
   * @example "npm ci\nnpm test"
   */
  script?: string | undefined;

  /**
   * Who runs it: `name`, `uid`, `name:group` or `uid:gid`. The sandbox's user or the driver's own default
   * otherwise. The native driver has to be root for it.
   *
   * @example "1000:1000"
   */
  user?: string | undefined;

  /**
   * What the command reads from its standard input; text is sent as UTF-8. It may be a secret. Without it
   * the input is empty.
   *
   * @example "yes\n"
   */
  stdin?: string | Uint8Array | Secret | undefined;

  /**
   * How long the task may take. When that has passed, the task is ended and the result's `status`
   * is `abort`. Unlimited by default.
   *
   * @example "90s"
   */
  timeout?: Duration | undefined;

  /**
   * Ends the task when it is aborted: the result's `status` is `abort` then. Unlike a timeout it can
   * end several tasks, at a moment that the pipeline chooses.
   *
   * @example new AbortController().signal
   */
  signal?: AbortSignal | undefined;

  /**
   * Whether the task tidies up, as in a `finally`: it starts although the run was interrupted or has
   * timed out, and has up to 30 seconds from then on. Off by default: the call rejects with an
   * `AbortError` once the run is to end.
   *
   * @example true
   */
  cleanup?: boolean | undefined;

  /**
   * Whether the pipeline tries again if the task fails: the summary then shows the task as `retried`
   * and does not count it among the failures. It changes nothing else.
   *
   * @example attempt < 3
   */
  willRetry?: boolean | undefined;

  /**
   * Whether the task may fail without the pipeline looking at that. Off by default: a task that ends
   * with a code other than 0, by a signal or early fails the run unless the pipeline reads `code`,
   * `status`, `ok` or `message` of its {@link RunResult}, and so does one that could not be started unless
   * the pipeline reads the error.
   *
   * @example true
   */
  allowFailure?: boolean | undefined;

  /**
   * Called with what the task writes, in the order in which it was read, never in the middle of a
   * character, and never after the call settled. It sees all of the output, also what `stdout` and
   * `stderr` of the result leave out.
   *
   * A promise that it returns is waited for, so that a slow consumer slows the task down. When it
   * throws or rejects, the task is ended and the call rejects with the same error.
   *
   * @example (stream, data) => { if (stream === "stderr") warnings += data; }
   */
  onOutput?: ((stream: OutputStream, data: string) => void | PromiseLike<void>) | undefined;
}

/**
 * What is executed, and how, with either a command or a script.
 *
 * @example
 * const build: CommandOptions = { script: "make -j2", timeout: "10m" };
 */
type CommandOptions = CommandFields & Executable;

/**
 * What {@link Runtime.run} takes. A key that is not listed here is an error.
 *
 * @example
 * const options: RunOptions = {
 *   name: "unit tests",
 *   image: "node:22",
 *   command: ["npm", "test"],
 *   env: { CI: "true" },
 *   timeout: "10m",
 * };
 */
type RunOptions = RunFields & Executable;

/**
 * The fields of {@link RunOptions}.
 *
 * @example
 * const common: RunFields = { name: "test", image: "node:22", env: { CI: "true" } };
 */
interface RunFields extends ContainerOptions, CommandFields {
  /**
   * What reports and logs call the task. Any text but the empty one; several tasks may share it.
   * The driver keeps one working directory for each name.
   *
   * @example "unit tests"
   */
  name: string;
}

/**
 * What {@link Runtime.startSandbox} takes. A key that is not listed here is an error.
 *
 * @example
 * const options: SandboxOptions = {
 *   name: "database tests",
 *   image: "postgres:17",
 *   env: { PGDATA: "/tmp/data" },
 *   user: "postgres",
 * };
 */
interface SandboxOptions extends ContainerOptions {
  /**
   * What messages call the sandbox, and reports and logs its commands unless these have names of their
   * own. Any text but the empty one; several sandboxes may share it. On docker other tasks of the run
   * reach it by this name, with `-` for what a host name does not have.
   *
   * @example "database tests"
   */
  name: string;

  /**
   * Who runs the commands that do not say that themselves: `name`, `uid`, `name:group` or `uid:gid`.
   * The driver's own default otherwise.
   *
   * @example "1000:1000"
   */
  user?: string | undefined;
}

/**
 * What {@link Sandbox.exec} takes. A key that is not listed here is an error.
 *
 * @example
 * const options: ExecOptions = { name: "migrate", command: ["./migrate", "up"] };
 */
type ExecOptions = ExecFields & Executable;

/**
 * The fields of {@link ExecOptions}.
 *
 * @example
 * const common: ExecFields = { env: { VERBOSE: "1" }, timeout: "1m" };
 */
interface ExecFields extends CommandFields {
  /**
   * What reports and logs call the task; the sandbox's name by default.
   *
   * @example "migrate"
   */
  name?: string | undefined;

  /**
   * Environment variables for this command, added to the sandbox's and preferred to them.
   *
   * @example { VERBOSE: "1" }
   */
  env?: { readonly [name: string]: string | Secret } | undefined;

  /**
   * The directory in which the command starts, relative to the sandbox's or absolute; the sandbox's
   * own by default. One that is missing below the sandbox's is made.
   *
   * @example "packages/server"
   */
  workDir?: string | undefined;
}

/**
 * How a task ended.
 *
 * When a task has not succeeded, the pipeline has to look at its result: it reads `ok`, `code`, `status`
 * or `message`, or passes {@link CommandFields.allowFailure}. Otherwise the run fails when the pipeline
 * has settled. Destructuring one of these, spreading the result, `JSON.stringify`,
 * `structuredClone`, `Object.entries` and `assert.equal` read them. Reading `stdout` or `stderr`
 * alone, `Object.keys`, and printing the result with `console` do not count. Nor does a promise that
 * nobody waits for.
 *
 * The same holds for an error that a call rejects with and that does not end the pipeline: it is looked at
 * when its `message`, `name`, `stack`, `cause` or `code` is read, or when it is made text (`${error}`).
 * `Promise.allSettled`, `Promise.any`, `Promise.race`, an empty `catch` and printing the error do not
 * count. What `onOutput` throws is the pipeline's own error, and is not watched.
 *
 * @example
 * const { ok, timedOut, code } = await runtime.run(options);
 * if (timedOut) throw new Error("the build takes too long");
 * if (!ok) throw new Error(`the build failed with code ${code}`);
 */
interface RunResult {
  /** Whether the command ended by itself with the code 0. */
  readonly ok: boolean;

  /**
   * The exit code; 128 and the signal's number for a command that a signal ended. Never 0 for a
   * task that was ended early.
   */
  readonly code: number;

  /**
   * What the command wrote to its standard output. Bytes that are not UTF-8 are U+FFFD. Bounded to
   * 16 MiB by default, of which the head and the tail are kept; see `truncated`.
   */
  readonly stdout: string;

  /** The same for its standard error output. */
  readonly stderr: string;

  /** `complete` when the command ended, `abort` when `ci` ended it before that. */
  readonly status: "complete" | "abort";

  /** The signal that ended the command, such as `SIGKILL`; `null` if none did. */
  readonly signal: string | null;

  /** Whether the task's timeout, or that of the run, ended it. */
  readonly timedOut: boolean;

  /** Why the task ended early, or which signal ended it. Empty when there is nothing to say. */
  readonly message: string;

  /** How long the command ran, in milliseconds. */
  readonly durationMs: number;

  /** Whether `stdout` or `stderr` leaves something out. */
  readonly truncated: boolean;
}

/**
 * A place where several commands run, one after the other or at the same time: a container, or on a
 * driver without containers a working directory. They share its files, its network and its processes.
 *
 * @example
 * await using sandbox = await runtime.startSandbox({ name: "server", image: "node:22" });
 * await sandbox.exec({ command: ["npm", "ci"] });
 * await sandbox.exec({ command: ["npm", "test"] });
 */
interface Sandbox extends AsyncDisposable {
  /**
   * What the driver knows the sandbox by, such as the name of its container. Good for messages.
   *
   * @example
   * console.log(`see \`docker inspect ${sandbox.id}\``);
   */
  readonly id: string;

  /**
   * The name that it was started with.
   *
   * @example
   * console.log(`in ${sandbox.name}`);
   */
  readonly name: string;

  /**
   * Runs one command in the sandbox as a task and waits for its end, as {@link Runtime.run} does.
   * Several calls run at the same time.
   *
   * What a command leaves in the background stays until the sandbox is closed, and the next command can
   * use it. Send its output to a file: once its command has ended, a container passes nothing on, and
   * writing may fail.
   *
   * Resolves for every exit code. Rejects with a `TypeError` that names the field when an option is
   * wrong, with an `Error` when the command could not be started, also because the sandbox is closed,
   * and with whatever `onOutput` threw.
   *
   * @param options What to run, and with what.
   * @returns How the task ended and what it wrote.
   *
   * @example
   * await sandbox.exec({ command: ["sh", "-c", "./server >server.log 2>&1 &"] });
   * const { code } = await sandbox.exec({ name: "ping", command: ["./client"], timeout: "10s" });
   */
  exec(options: ExecOptions): Promise<RunResult>;

  /**
   * Ends everything that runs in the sandbox and removes it; volumes keep their content. Commands that
   * are running end as aborted. Calling it again does nothing more. A sandbox that nobody closes is
   * closed at the end of the run.
   *
   * @returns When nothing of the sandbox is left.
   *
   * @example
   * const sandbox = await runtime.startSandbox({ name: "build", image: "gcc:14" });
   * try {
   *   await sandbox.exec({ command: ["make"] });
   * } finally {
   *   await sandbox.close();
   * }
   */
  close(): Promise<void>;

  /**
   * The same as {@link Sandbox.close}, at the end of the block that has `await using`.
   *
   * @example
   * await using sandbox = await runtime.startSandbox({ name: "build", image: "gcc:14" });
   */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * What a pipeline can do. Frozen: it cannot be replaced or extended.
 *
 * @example
 * const cache = await runtime.createVolume({ name: "cache" });
 * await runtime.run({
 *   name: "hello",
 *   image: "alpine:3.20",
 *   command: ["echo", "hello"],
 *   mounts: { cache },
 * });
 */
interface Runtime {
  /**
   * Creates a volume, or finds the one that has this name already.
   *
   * Rejects with a `TypeError` that names the field when an option is wrong, and with an `Error`
   * when the driver cannot make the volume.
   *
   * @param options The volume's name and its size in bytes; both may be left out.
   * @returns The volume, ready to be mounted.
   *
   * @example
   * const cache = await runtime.createVolume({ name: "npm", size: "1GiB" });
   * await runtime.run({
   *   name: "install",
   *   image: "node:22",
   *   command: ["npm", "ci"],
   *   env: { npm_config_cache: ".npm" },
   *   mounts: { ".npm": cache },
   * });
   */
  createVolume(options?: VolumeOptions): Promise<Volume>;

  /**
   * Copies the project's files into a new volume, as they are at this moment: uncommitted and untracked
   * files too, but not what ignore files leave out. The project is the git work tree that holds the
   * pipeline's file, or else the file's directory; `ci run --source DIR` names another one.
   *
   * A file that changes while it is copied is copied again. Modes, times and links stay. What tasks write
   * to the volume never reaches the project: see {@link Runtime.artifact}.
   *
   * Rejects with a `TypeError` that names the field when an option is wrong, and with an `Error` when a
   * file cannot be copied.
   *
   * @param options Which files; all of the project by default.
   * @returns The volume, ready to be mounted.
   *
   * @example
   * const source = await runtime.source();
   * const test = await runtime.run({
   *   name: "test",
   *   image: "node:22",
   *   mounts: { ".": source },
   *   script: "npm ci\nnpm test",
   * });
   * assert.truthy(test.ok);
   */
  source(options?: SourceOptions): Promise<Volume>;

  /**
   * Copies a file or a directory of a volume to the directory for artifacts: `ci-artifacts` in the project,
   * or what `ci run --artifacts DIR` names. It appears there whole or not at all.
   *
   * Rejects with a `TypeError` that names the field when an option is wrong, and with an `Error` when the
   * path is not in the volume, when a link leads out of it, or when something is in the artifact's place
   * that `ci` has not put there.
   *
   * @param options What is copied, and what it is called.
   * @returns The artifact's absolute path.
   *
   * @example
   * const source = await runtime.source();
   * await runtime.run({ name: "build", mounts: { ".": source }, command: ["make", "dist"] });
   * await runtime.artifact({ name: "dist", volume: source, path: "dist" });
   */
  artifact(options: ArtifactOptions): Promise<string>;

  /**
   * Reads a file of a volume, without a task. It has at most 16 MiB.
   *
   * Rejects with an `Error` when there is no such file, or when its path leads out of the volume.
   *
   * @param volume The volume.
   * @param path The file's path in the volume.
   * @param options Whether the content is text, which is the default, or bytes.
   * @returns The content. Bytes that are not UTF-8 are U+FFFD in text.
   *
   * @example
   * const source = await runtime.source();
   * const version = await runtime.readFile(source, "VERSION");
   * const icon = await runtime.readFile(source, "icon.png", { bytes: true });
   */
  readFile(volume: Volume, path: string, options?: { bytes?: false }): Promise<string>;
  readFile(volume: Volume, path: string, options: { bytes: true }): Promise<Uint8Array>;

  /**
   * Hashes files of the project: their paths and their content. The same files give the same hash on every
   * machine, so it is good in the name of a volume that a cache keeps.
   *
   * Rejects with an `Error` when a path or a glob matches nothing.
   *
   * @param patterns Paths, or globs in the syntax of `.gitignore`, relative to the project. A path may name
   * a file that is ignored; a glob matches none.
   * @returns The hash, in hexadecimal.
   *
   * @example
   * const key = await runtime.hashFiles(["package-lock.json"]);
   * const modules = await runtime.createVolume({ name: `node_modules-${key}` });
   */
  hashFiles(patterns: readonly string[]): Promise<string>;

  /**
   * Finds a secret that the command line names with `--secret` or `--secrets-file`. Its value goes to tasks
   * alone, and is masked wherever something is shown. What a task writes is masked in logs and reports, but
   * not in its {@link RunResult}.
   *
   * As a variable it comes without line breaks at its end; as a file and as input it comes as it is.
   *
   * Throws a `TypeError` when there is no secret of this name.
   *
   * @param name The name of the secret.
   * @returns The secret, to hand to a task.
   *
   * @example
   * const publish = await runtime.run({
   *   name: "publish",
   *   image: "node:22",
   *   env: { NPM_TOKEN: runtime.secret("NPM_TOKEN") },
   *   secrets: { "/run/secrets/key.pem": runtime.secret("SIGNING_KEY") },
   *   command: ["npm", "publish"],
   * });
   * assert.truthy(publish.ok);
   */
  secret(name: string): Secret;

  /**
   * Runs one command as a task and waits for its end. Several calls run at the same time: combine
   * them with `Promise.all`.
   *
   * Resolves for every exit code. Rejects with a `TypeError` that names the field when an option is
   * wrong (it never throws at once), with an `Error` when the command could not be started, and
   * with whatever `onOutput` threw. Whoever catches the error has to read it, see {@link RunResult}.
   *
   * @param options What to run, where, and with what.
   * @returns How the task ended and what it wrote.
   *
   * @example
   * const test = await runtime.run({
   *   name: "test",
   *   image: "golang:1.24",
   *   command: ["go", "test", "./..."],
   *   timeout: "10m",
   * });
   * assert.equal(test.code, 0, test.stderr);
   */
  run(options: RunOptions): Promise<RunResult>;

  /**
   * Starts a sandbox, in which several commands run one after the other or at the same time.
   *
   * Rejects with a `TypeError` that names the field when an option is wrong, with an `Error` when the
   * driver cannot make the sandbox, and with an `AbortError` once the run is to end. In containers the
   * image has to have a shell.
   *
   * @param options Where the commands run.
   * @returns The sandbox, ready for commands. Close it when it is not needed any more.
   *
   * @example
   * await using sandbox = await runtime.startSandbox({
   *   name: "integration tests",
   *   image: "node:22",
   *   mounts: { node_modules: await runtime.createVolume({ name: "node_modules" }) },
   * });
   * await sandbox.exec({ command: ["sh", "-c", "node server.js >log 2>&1 &"] });
   * const test = await sandbox.exec({ name: "test", command: ["npm", "test"] });
   * assert.equal(test.code, 0);
   */
  startSandbox(options: SandboxOptions): Promise<Sandbox>;
}

/**
 * Creates volumes, runs tasks and starts sandboxes.
 *
 * @example
 * const { stdout } = await runtime.run({
 *   name: "version",
 *   image: "node:22",
 *   command: ["node", "--version"],
 * });
 * console.log(stdout.trim());
 */
declare const runtime: Runtime;

/**
 * Checks that end a pipeline when they fail. Frozen, as {@link runtime} is.
 *
 * Every check throws an {@link AssertionError} whose message starts with `message`, when there is
 * one, and shows what was expected and what was found.
 *
 * @example
 * assert.equal(result.code, 0, "the build has to succeed");
 * assert.containsString(result.stdout, "ok");
 */
interface Assert {
  /**
   * Passes when both values have the same structure.
   *
   * Objects are compared by their prototypes and their own enumerable properties, symbols included;
   * maps, sets, dates, regular expressions, errors, boxed primitives, buffers and typed arrays by
   * their content; values that refer to themselves work. Primitives are compared as by `Object.is`:
   * `NaN` equals `NaN`, and `0` does not equal `-0`.
   *
   * @param actual What was found.
   * @param expected What it has to be.
   * @param message What the error's message starts with.
   *
   * @example
   * assert.equal(JSON.parse(result.stdout), { passed: 3, failed: 0 });
   */
  equal<T>(actual: T, expected: NoInfer<T>, message?: string): void;

  /**
   * Passes when {@link Assert.equal} would fail.
   *
   * @param actual What was found.
   * @param expected What it must not be.
   * @param message What the error's message starts with.
   *
   * @example
   * assert.notEqual(result.stdout, "");
   */
  notEqual(actual: unknown, expected: unknown, message?: string): void;

  /**
   * Passes unless the value is `false`, `0`, `-0`, `0n`, `""`, `null`, `undefined` or `NaN`. The
   * compiler knows from then on that it is none of these.
   *
   * @param value What was found.
   * @param message What the error's message starts with.
   *
   * @example
   * const match = /version (\S+)/.exec(result.stdout);
   * assert.truthy(match, "no version in the output");
   * console.log(match[1]);
   */
  truthy(value: unknown, message?: string): asserts value;

  /**
   * Passes when a text contains another one. Throws a `TypeError` when one of them is not text.
   *
   * @param text Where to look.
   * @param part What to look for.
   * @param message What the error's message starts with.
   *
   * @example
   * assert.containsString(result.stdout, "3 tests passed");
   */
  containsString(text: string, part: string, message?: string): void;

  /**
   * Passes when an array has an element that equals the given one as by {@link Assert.equal}.
   * Throws a `TypeError` when it is not an array.
   *
   * @param array Where to look.
   * @param element What to look for.
   * @param message What the error's message starts with.
   *
   * @example
   * assert.containsElement(result.stdout.split("\n"), "done");
   */
  containsElement<T>(array: readonly T[], element: NoInfer<T>, message?: string): void;
}

/**
 * Checks that end a pipeline when they fail.
 *
 * @example
 * assert.equal(result.code, 0);
 */
declare const assert: Assert;

/**
 * What a failed check of {@link assert} throws.
 *
 * @example
 * try {
 *   assert.equal(1, 2);
 * } catch (error) {
 *   if (error instanceof AssertionError) console.log(error.actual, error.expected);
 * }
 */
interface AssertionError extends Error {
  /** Tells it apart from other errors. */
  readonly name: "AssertionError";

  /** What was found. */
  readonly actual: unknown;

  /** What was expected; absent for `truthy`. */
  readonly expected: unknown;

  /** The check that failed, such as `equal`. */
  readonly operator: string;
}

/**
 * The fields of an {@link AssertionError}.
 *
 * @example
 * throw new AssertionError("no artifact", { actual: files, operator: "custom" });
 */
interface AssertionErrorOptions {
  /** What was found. */
  actual?: unknown;

  /** What was expected. */
  expected?: unknown;

  /** The check that failed. `fail` by default. */
  operator?: string | undefined;
}

/**
 * The class of what a failed check throws; a pipeline may throw it for checks of its own.
 *
 * @example
 * throw new AssertionError("no artifact", { actual: [], expected: ["app.tar"] });
 */
interface AssertionErrorConstructor {
  /** What all of its errors have in common; `instanceof` looks for it. */
  readonly prototype: AssertionError;

  /**
   * @param message What failed. It is used as it is.
   * @param options The values that the message is about.
   *
   * @example
   * new AssertionError("too slow", { actual: 12, expected: 10, operator: "atMost" });
   */
  new (message: string, options?: AssertionErrorOptions): AssertionError;
}

/**
 * What a failed check of {@link assert} throws.
 *
 * @example
 * const failed = error instanceof AssertionError;
 */
declare const AssertionError: AssertionErrorConstructor;

/**
 * Reads and writes YAML 1.2. Frozen, as {@link runtime} is.
 *
 * @example
 * const { version } = YAML.parse(result.stdout) as { version: string };
 */
interface Yaml {
  /**
   * Turns a text with one YAML document into objects, arrays, strings, numbers, booleans and
   * `null`, by the core schema of YAML 1.2: `1_000` and `yes` are text, `.inf` is `Infinity`. Whole
   * numbers beyond 2^53 are big integers. Keys are text: `~` is `"null"`, numbers keep their digits.
   * Aliases are the same object, and `<<` merges mappings. Throws a `SyntaxError` with the line and
   * the column when the text is not YAML.
   *
   * @param text One document.
   *
   * @example
   * YAML.parse("steps: [build, test]"); // { steps: ["build", "test"] }
   */
  parse(text: string): unknown;

  /**
   * Turns a text with one YAML document into JSON text. Numbers keep their digits, also those that
   * a number of JavaScript cannot hold; what JSON has no number for, such as `0755` and `0x1F`,
   * becomes text. Throws a `SyntaxError` with the line and the column when the text is not YAML.
   *
   * @param text One document of at most 500,000 nodes and 100 levels.
   *
   * @example
   * YAML.asJSON("version: 1.10"); // '{"version":1.10}'
   */
  asJSON(text: string): string;

  /**
   * Turns a value into a YAML document. Calls `toJSON` where it exists, so that a `Date` becomes
   * text, and leaves out properties that are `undefined`. Throws a `TypeError` that names the place
   * for everything that is not plain data, such as functions, maps, big integers and `NaN`, for
   * values that refer to themselves, and for more than 128 levels.
   *
   * @param value Objects, arrays, strings, numbers, booleans and `null`.
   *
   * @example
   * YAML.stringify({ steps: ["build", "test"] }); // "steps:\n- build\n- test\n"
   */
  stringify(value: unknown): string;
}

/**
 * Reads and writes YAML.
 *
 * @example
 * const config = YAML.parse("retries: 3");
 */
declare const YAML: Yaml;

/**
 * What a pipeline knows about its own run.
 *
 * @example
 * const [target = "all"] = pipelineContext.args;
 */
interface PipelineContext {
  /** Unique for every run. */
  readonly runId: string;

  /** The same for every run of the same pipeline. */
  readonly pipelineId: string;

  /**
   * The same as `runId`.
   *
   * @deprecated Write `runId`.
   */
  readonly runID: string;

  /**
   * The same as `pipelineId`.
   *
   * @deprecated Write `pipelineId`.
   */
  readonly pipelineID: string;

  /** The driver that runs the tasks, such as `native`. */
  readonly driverName: string;

  /** Whether tasks run in container images. Without, `image` has no effect. */
  readonly hasImages: boolean;

  /** What follows `--` on the command line. */
  readonly args: readonly string[];
}

/**
 * What a pipeline knows about its own run. Frozen, with its `args`.
 *
 * @example
 * console.log(`run ${pipelineContext.runId} on ${pipelineContext.driverName}`);
 */
declare const pipelineContext: PipelineContext;
