// From a checked plan to steps that can be run.

import { loadVar } from "ext:ci/plan/files.ts";
import { job, runJobs } from "ext:ci/plan/jobs.ts";
import { get, put } from "ext:ci/plan/resources.ts";
import { attempt, inParallel, sequence } from "ext:ci/plan/steps.ts";
import { task } from "ext:ci/plan/task.ts";
import type { Get, Hooks, Job, LoadVar, Modifiers, PipelineOptions, Put, Step, Task } from "ext:ci/plan/types.ts";

/** A pipeline as the host hands it over. */
interface Plan extends PipelineOptions {
  readonly jobs: readonly (PlanHooks & Omit<Job, keyof Hooks> & PlannedPart)[];
}

interface PlannedPart {
  readonly plan: readonly PlanStep[];
  readonly passed: readonly string[];
}

type PlanHooks = { readonly [Name in keyof Hooks]?: PlanStep | null };
type PlanModifiers = Omit<Modifiers, keyof Hooks> & PlanHooks;
type PlanAction =
  | Task
  | Get
  | Put
  | LoadVar
  | { readonly do: readonly PlanStep[] }
  | { readonly try: readonly PlanStep[] }
  | {
    readonly in_parallel: {
      readonly steps: readonly PlanStep[];
      readonly limit?: number;
      readonly fail_fast?: boolean;
    };
  };
type PlanStep = PlanAction & PlanModifiers;

/** The pipeline that a plan describes. */
export function interpret(text: string): Pipeline {
  const plan = JSON.parse(text) as Plan;
  return () =>
    runJobs(
      plan,
      plan.jobs.map((each) => {
        const { name, serial_groups, max_in_flight, assert, passed } = each;
        const options = { name, serial_groups, max_in_flight, assert, ...hooks(each) };
        return job(options, passed, each.plan.map(step));
      }),
    );
}

function step(plan: PlanStep): Step {
  const modifiers: Modifiers = {
    across: plan.across,
    fail_fast: plan.fail_fast,
    attempts: plan.attempts,
    timeout: plan.timeout,
    ...hooks(plan),
  };
  if ("task" in plan) {
    return task(plan, modifiers);
  }
  if ("get" in plan) {
    return get(plan, modifiers);
  }
  if ("put" in plan) {
    return put(plan, modifiers);
  }
  if ("load_var" in plan) {
    return loadVar(plan, modifiers);
  }
  if ("do" in plan) {
    return sequence(plan.do.map(step), modifiers);
  }
  if ("try" in plan) {
    return attempt(plan.try.map(step), modifiers);
  }
  const { steps, limit, fail_fast } = plan.in_parallel;
  return inParallel({ steps: steps.map(step), limit, fail_fast }, modifiers);
}

function hooks(plan: PlanHooks): Hooks {
  const hook = (plan: PlanStep | null | undefined) => plan ? step(plan) : undefined;
  return {
    ensure: hook(plan.ensure),
    on_success: hook(plan.on_success),
    on_failure: hook(plan.on_failure),
    on_error: hook(plan.on_error),
    on_abort: hook(plan.on_abort),
  };
}
