// Artifacts that come from this machine, and go to it: `--input` and `--output`.

import { ops } from "ext:ci/ops.ts";
import type { Artifact, JobRun, Local, Scope } from "ext:ci/plan/types.ts";

/** What the command line gives to a pipeline, and takes of it. */
export function local(inputs: readonly string[] = [], outputs: readonly string[] = []): Local {
  // A job may change its copy, so each has one of its own.
  const taken = new WeakMap<JobRun, Map<string, Promise<Artifact>>>();
  const published = new Set<string>();

  return {
    program: ops.op_program(),

    input(name, job) {
      if (!inputs.includes(name)) {
        return undefined;
      }
      const artifacts = taken.get(job) ?? new Map<string, Promise<Artifact>>();
      taken.set(job, artifacts);
      const artifact = artifacts.get(name) ?? imported(name);
      artifacts.set(name, artifact);
      return artifact;
    },

    async publish(scope: Scope) {
      for (const name of outputs) {
        const artifact = scope.artifacts.get(name);
        if (artifact !== undefined) {
          published.add(name);
          const volume = artifact.volume.name;
          await ops.op_artifact_publish({ name, volume, path: ".", isOutput: true });
        }
      }
    },

    check: (name, text, vars) => ops.op_pipeline_check(name, text, JSON.stringify(vars)),

    missing: () => outputs.filter((name) => !published.has(name)),
  };
}

async function imported(name: string): Promise<Artifact> {
  return { volume: await runtime.source({ input: name }) };
}
