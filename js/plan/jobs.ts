// Jobs: in the order of what they wait for, and the rest at the same time.

import { caught, failed, newReport } from "ext:ci/plan/outcomes.ts";
import { letGo, slots, within } from "ext:ci/plan/slots.ts";
import type {
  ExecutionAssert,
  Job,
  Outcome,
  PipelineOptions,
  Run,
  Scope,
  Slots,
  Step,
} from "ext:ci/plan/types.ts";

/** A job of a pipeline, and the jobs that have to succeed before it. */
export interface PlannedJob {
  readonly name: string;
  readonly needs: readonly string[];
  readonly groups: readonly string[];
  start(run: Run): Promise<JobEnd>;
}

interface JobEnd {
  readonly outcome: Outcome;
  readonly problems: readonly string[];
}

/** A job and what it does. `needs` are the jobs that its `get` steps name in `passed`. */
export function job(options: Job, needs: readonly string[], plan: Step): PlannedJob {
  return {
    name: options.name,
    needs,
    groups: options.serial_groups ?? [],
    start: (run) => runJob(options, plan, run),
  };
}

/** Runs the jobs. Throws unless each of them, and each assert, went as declared. */
export async function runJobs(options: PipelineOptions, jobs: readonly PlannedJob[]): Promise<void> {
  const limit = options.max_in_flight ?? Infinity;
  const run: Run = {
    options,
    slots: slots(limit),
    stop: new AbortController(),
    wrong: [],
    versions: new Map(),
  };
  const atOnce = slots(limit);
  const groups = new Map<string, Slots>();
  for (const group of jobs.flatMap((job) => job.groups)) {
    groups.set(group, groups.get(group) ?? slots(1));
  }
  const execution: string[] = [];
  const problems: string[] = [];
  const ends = new Map<string, Promise<boolean>>();
  for (const job of jobs) {
    ends.set(job.name, (async () => {
      // Jobs may wait for jobs further down, so all of them have to be known first.
      await null;
      const before = await Promise.all(job.needs.map((name) => ends.get(name) ?? true));
      if (before.includes(false)) {
        problems.push(`\`${job.name}\` was not started: a job that it waits for did not succeed`);
        return false;
      }
      const start = () =>
        within(atOnce, async (): Promise<JobEnd> => {
          if (run.stop.signal.aborted) {
            return { outcome: "abort", problems: [] };
          }
          execution.push(job.name);
          return job.start(run);
        });
      // Always in the same order, so that no two jobs wait for each other.
      const locked = [...new Set(job.groups)].sort().reduceRight<typeof start>(
        (inner, group) => {
          const lock = groups.get(group);
          return lock === undefined ? inner : () => within(lock, inner);
        },
        start,
      );
      const { outcome, problems: reasons } = await locked();
      if (outcome !== "success") {
        const ended = { failure: "failed", error: "could not be run", abort: "was ended early" };
        problems.push([`\`${job.name}\` ${ended[outcome]}`, ...reasons].join("\n    "));
      }
      return outcome === "success";
    })());
  }
  await Promise.all(ends.values());
  if (problems.length === 0) {
    const missing = options.local?.missing() ?? [];
    problems.push(...missing.map((name) => `no job made the artifact \`${name}\` of \`--output\``));
  }
  const wrong = [...run.wrong, ...differences("the pipeline", options.assert, execution)];
  const all = [...problems, ...wrong.map((text) => `assert: ${text}`)];
  if (all.length > 0) {
    throw new Error(`the pipeline failed\n  ${all.join("\n  ")}`);
  }
}

async function runJob(options: Job, plan: Step, run: Run): Promise<JobEnd> {
  const report = newReport();
  const scope: Scope = {
    job: {
      name: options.name,
      run,
      execution: new Set(),
      slots: slots(options.max_in_flight ?? Infinity),
    },
    artifacts: new Map(),
    vars: new Map(),
    env: {},
    suffix: "",
    combinations: 1,
    signal: run.stop.signal,
    deadline: Infinity,
    cleanup: false,
    willRetry: false,
    report,
    branch: {},
    failing: () => undefined,
  };
  let outcome = await caught(plan, scope);
  if (outcome === "success") {
    try {
      await run.options.local?.publish(scope);
    } catch (error) {
      outcome = failed(scope, error);
    }
  }
  letGo(scope.branch);
  run.wrong.push(...report.wrong);
  if (options.assert) {
    const started = Array.from(scope.job.execution, ({ name }) => name);
    const wrong = differences(`\`${options.name}\``, options.assert, started);
    run.wrong.push(...wrong);
    outcome = wrong.length === 0 ? "success" : "failure";
  }
  return { outcome, problems: report.problems };
}

/** What is wrong with the order in which things started. */
function differences(
  what: string,
  expected: ExecutionAssert | null | undefined,
  actual: readonly string[],
): string[] {
  if (!expected || JSON.stringify(expected.execution) === JSON.stringify(actual)) {
    return [];
  }
  const list = (names: readonly string[]) => `[${names.join(", ")}]`;
  return [`${what} started ${list(actual)}, expected ${list(expected.execution)}`];
}
