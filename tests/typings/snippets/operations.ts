// What the ops of the host return is what the typings promise: no field more, and none less.

import type * as Host from "../../../js/ops.gen.ts";

type Same<A, B> = [Mutable<A>, Mutable<B>] extends [Mutable<B>, Mutable<A>]
  ? keyof A extends keyof B ? keyof B extends keyof A ? true : false : false
  : false;

/** The typings do not let a pipeline change a result; to the host it is plain data. */
type Mutable<T> = T extends readonly (infer Element)[] ? Element[]
  : T extends object ? { -readonly [K in keyof T]: Mutable<T[K]> }
  : T;

export const result: Same<Host.TaskResult, Omit<RunResult, "ok">> = true;
export const volume: Same<Host.VolumeInfo, Volume> = true;
export const context: Same<Host.PipelineContext, Omit<PipelineContext, "runID" | "pipelineID">> =
  true;
export const stream: Same<Host.OutputChunk["stream"], OutputStream> = true;

/**
 * Every option has a place in the request, under the name that the host uses for it. A signal stays
 * in the isolate, which tells the host when to end the task, and so does what a failure means. Who runs it is a
 * part of the command.
 */
type Renamed = {
  timeout: "timeoutMs";
  containerLimits: "limits";
  network: "offline";
  onOutput: "streamOutput";
};
type Request<K> = K extends keyof Renamed ? Renamed[K] : K;
type Keys<Options> = Record<Request<Exclude<keyof Options, "signal" | "allowFailure">>, true>;
/** Secrets are variables and input, too. A step of a pipeline in YAML is not a pipeline's to say. */
type Apart = "secretEnv" | "secretStdin" | "step" | "leftOfMs";
/** What a request has itself and in its parts. */
type Parts<Requested> = Record<
  Exclude<
    | Exclude<keyof Requested, "container" | "execution">
    | (Requested extends { container: infer Part } ? keyof Part : never)
    | (Requested extends { execution: infer Part } ? keyof Part : never),
    Apart
  >,
  true
>;
export const run: Same<Keys<Omit<RunFields, "user">>, Parts<Host.TaskRequest>> = true;
export const sandbox: Same<Keys<SandboxOptions>, Parts<Host.SandboxRequest>> = true;
export const exec: Same<Keys<Omit<ExecFields, "user">>, Parts<Host.ExecRequest>> = true;
export const command: Same<
  Record<keyof Command, true>,
  Record<keyof Host.CommandRequest, true>
> = true;
export const limits: Same<
  Record<keyof ContainerLimits, true>,
  Record<keyof Host.LimitsRequest, true>
> = true;
export const volumeOptions: Same<
  Record<keyof VolumeOptions, true>,
  Record<keyof Host.VolumeRequest, true>
> = true;
