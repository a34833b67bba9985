// From a checked plan to steps that can be run.

import { ops } from "ext:ci/ops.ts";
import { declareCaches } from "ext:ci/plan/caches.ts";
import { clock } from "ext:ci/plan/clock.ts";
import { fromFile, loadVar, setPipeline } from "ext:ci/plan/files.ts";
import { job, runJobs } from "ext:ci/plan/jobs.ts";
import { local } from "ext:ci/plan/local.ts";
import { across, hooked, timeout } from "ext:ci/plan/modifiers.ts";
import { countedAttempts, Reporter } from "ext:ci/plan/reports.ts";
import { get, put } from "ext:ci/plan/resources.ts";
import { attempt, inParallel, refused, runMessage, sequence } from "ext:ci/plan/steps.ts";
import { task } from "ext:ci/plan/task.ts";
import { parseJson } from "ext:ci/plan/vars.ts";
import type {
  Across,
  Cache,
  Get,
  Hooks,
  Job,
  LoadVar,
  Parallel,
  PipelineOptions,
  Put,
  Refusable,
  RunMessage,
  SetPipeline,
  Step,
  Task,
  TaskConfig,
} from "ext:ci/plan/types.ts";

/** A pipeline as the host hands it over. */
interface Plan extends PipelineOptions {
  /** Of tasks that were not selected: the names of caches do not depend on that. */
  readonly other_caches?: readonly { readonly task: string; readonly caches: readonly Cache[] }[];
  readonly jobs: readonly (Job & PlanHooks & PlannedPart)[];
  /** Artifacts that are directories of this machine, by `--input`. */
  readonly inputs?: readonly string[];
  /** Artifacts that are written to this machine, by `--output`. */
  readonly outputs?: readonly string[];
}

interface PlannedPart {
  readonly plan: readonly PlanStep[];
  readonly passed: readonly string[];
}

type PlanHooks = { readonly [Name in keyof Hooks]?: PlanStep | null | undefined };

interface PlanModifiers extends PlanHooks {
  readonly across?: readonly Across[];
  readonly fail_fast?: boolean;
  readonly attempts?: number;
  /** In milliseconds. */
  readonly timeout?: number;
}

type PlanAction =
  | (Task & { readonly config?: TaskConfig; readonly file?: string })
  | Get
  | Put
  | LoadVar
  | SetPipeline
  | RunMessage
  | { readonly do: readonly PlanStep[] }
  | { readonly try: readonly PlanStep[] }
  | { readonly in_parallel: Parallel & { readonly steps: readonly PlanStep[] } };
type PlanStep = PlanAction & PlanModifiers & Refusable;
type ToStep = (plan: PlanStep) => Step;

/** The pipeline that a plan describes. */
export function interpret(text: string): Pipeline {
  const plan = parseJson(text) as Plan;
  for (const { task, caches } of plan.other_caches ?? []) {
    declareCaches(task, caches);
  }
  return async () => {
    const reporter = new Reporter();
    clock.now = () => ops.op_run_clock();
    const step = (plan: PlanStep) => toStep(plan, reporter);
    const jobs = plan.jobs.map((each) => {
      const { name, serial_groups, max_in_flight, assert, passed } = each;
      const options = { name, serial_groups, max_in_flight, assert };
      const steps = withHooks(sequence(each.plan.map(step)), each, step);
      return reporter.job(job(options, passed, steps));
    });
    try {
      await runJobs({ ...plan, local: local(plan.inputs, plan.outputs) }, jobs);
    } finally {
      reporter.end(jobs);
    }
  };
}

/** The keys of steps whose value is a name. */
const NAMED: ReadonlySet<string> = new Set(["task", "get", "put", "load_var", "set_pipeline", "run"]);

function toStep(plan: PlanStep, reporter: Reporter): Step {
  const step = (plan: PlanStep) => toStep(plan, reporter);
  const { across: variables = [], fail_fast, attempts: count = 1, timeout: after, ...rest } = plan;
  const { ensure, on_success, on_failure, on_error, on_abort, ...own } = rest;
  let made = action(own, step, reporter);
  if (after !== undefined) {
    made = timeout(after, made);
  }
  if (count > 1) {
    made = countedAttempts(count, made);
  }
  if (variables.length > 0) {
    made = across(variables, made, { fail_fast });
  }
  made = withHooks(made, { ensure, on_success, on_failure, on_error, on_abort }, step);
  return "try" in own ? attempt(made) : made;
}

function action(plan: PlanAction & Refusable, step: ToStep, reporter: Reporter): Step {
  if (plan.refused !== undefined) {
    const [kind = "do", name = "do"] = Object.entries(plan).find(([key]) => NAMED.has(key)) ?? [];
    return reporter.step(kind, String(name), refused(`\`${name}\`: ${plan.refused}`));
  }
  if ("task" in plan) {
    const { config, file = "", ...options } = plan;
    return reporter.step("task", options.task, task(options, config ?? fromFile(file)));
  }
  if ("get" in plan) {
    return reporter.step("get", plan.get, get(plan));
  }
  if ("put" in plan) {
    return reporter.step("put", plan.put, put(plan));
  }
  if ("load_var" in plan) {
    return reporter.step("load_var", plan.load_var, loadVar(plan));
  }
  if ("set_pipeline" in plan) {
    return reporter.step("set_pipeline", plan.set_pipeline, setPipeline(plan));
  }
  if ("run" in plan) {
    return reporter.step("run", plan.run, runMessage(plan));
  }
  if ("do" in plan) {
    return sequence(plan.do.map(step));
  }
  if ("try" in plan) {
    return sequence(plan.try.map(step));
  }
  const { steps, ...options } = plan.in_parallel;
  return inParallel(steps.map(step), options);
}

function withHooks(made: Step, plan: PlanHooks, step: ToStep): Step {
  const { ensure, on_success, on_failure, on_error, on_abort } = plan;
  if (!(ensure ?? on_success ?? on_failure ?? on_error ?? on_abort)) {
    return made;
  }
  const hook = (plan: PlanStep | null | undefined) => plan ? step(plan) : undefined;
  return hooked(made, {
    ensure: hook(ensure),
    on_success: hook(on_success),
    on_failure: hook(on_failure),
    on_error: hook(on_error),
    on_abort: hook(on_abort),
  });
}
