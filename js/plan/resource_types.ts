// What resources are made of: built in where there are no images, `/opt/resource` of an image else.

import { execute, StepFailure } from "ext:ci/plan/outcomes.ts";
import type { Json, Resource, Scope, Version } from "ext:ci/plan/types.ts";
import { shown } from "ext:ci/plan/vars.ts";

/** What a type of resources can do. Each of these runs as a task. */
export interface ResourceDriver {
  check(name: string): Promise<Version>;
  fetch(name: string, version: Version, params: Json, volume: Volume): Promise<void>;
  publish(name: string, params: Json, mounts: Record<string, Volume>): Promise<Version>;
  /** The image that a version stands for. */
  image?(version: Version): string | undefined;
}

/** The driver of a resource, for where this run takes place. */
export function resourceDriver(resource: Resource, scope: Scope): ResourceDriver {
  return pipelineContext.hasImages
    ? inImage(resource, scope)
    : builtIn(resource, scope);
}

interface Scripts {
  /** Prints the newest version, which is called `key`. */
  readonly check: { readonly key: string; readonly script: string };
  /** Fills `artifact`. */
  readonly fetch: string;
  /** Prints the new version. */
  readonly publish: string;
}

/** Scripts find `source_…` and `params_…` in their environment, and the version in `version`. */
const SCRIPTS: Readonly<Record<string, Scripts>> = {
  git: {
    check: {
      key: "ref",
      script:
        'ref=$(git ls-remote "$source_uri" "${source_branch:-HEAD}" | cut -f1 | head -n1); test -n "$ref" && echo "$ref"',
    },
    fetch:
      'git clone --quiet ${source_branch:+--branch "$source_branch"} "$source_uri" artifact && git -C artifact checkout --quiet "$version"',
    publish:
      'git -C "$params_repository" push --quiet "$source_uri" "HEAD:refs/heads/${source_branch:-main}" >&2 && git -C "$params_repository" rev-parse HEAD',
  },
  time: {
    check: { key: "time", script: "date -u +%Y-%m-%dT%H:%M:%SZ" },
    fetch: 'printf "%s" "$version" > artifact/time',
    publish: "date -u +%Y-%m-%dT%H:%M:%SZ",
  },
  mock: {
    check: {
      key: "version",
      script: 'echo "${source_force_version:-${source_initial_version:-mock}}"',
    },
    fetch: 'printf "%s" "$version" > artifact/version',
    publish: 'echo "${params_version:-mock}"',
  },
  file: {
    check: { key: "path", script: 'test -d "$source_path" && echo "$source_path"' },
    fetch: 'cp -R "$version"/. artifact/',
    publish:
      'mkdir -p "$source_path" && cp -R "$params_path"/. "$source_path"/ && echo "$source_path"',
  },
};

function builtIn({ type, source = {} }: Resource, scope: Scope): ResourceDriver {
  const scripts = SCRIPTS[type];
  if (scripts === undefined) {
    const known = Object.keys(SCRIPTS).map((name) => `\`${name}\``).join(", ");
    throw new Error(`the ${pipelineContext.driverName} driver has no resource type \`${type}\`; it has ${known}`);
  }
  const { key } = scripts.check;
  const run = async (
    name: string,
    script: string,
    env: Record<string, string>,
    mounts: Record<string, Volume>,
  ): Promise<string> => {
    const command = { path: "sh", args: ["-c", script] };
    const all = { ...variables("source", source), ...env };
    const result = await execute(scope, { name, image: "busybox", command, env: all, mounts });
    succeeded(name, result);
    return result.stdout.trim();
  };
  return {
    check: async (name) => ({ [key]: await run(name, scripts.check.script, {}, {}) }),
    fetch: async (name, version, params, artifact) => {
      const env = { ...variables("params", params), version: version[key] ?? "" };
      await run(name, scripts.fetch, env, { artifact });
    },
    publish: async (name, params, mounts) => ({
      [key]: await run(name, scripts.publish, variables("params", params), mounts),
    }),
  };
}

function inImage(resource: Resource, scope: Scope): ResourceDriver {
  const type = scope.job.run.options.resource_types?.find(({ name }) => name === resource.type);
  const image = type === undefined
    ? `concourse/${resource.type}-resource`
    : imageOf(type.source ?? {});
  const source = { ...type?.defaults, ...resource.source };
  const run = async (
    name: string,
    script: string,
    input: Json,
    mounts: Record<string, Volume>,
  ): Promise<unknown> => {
    const [, ...args] = script.split(" ");
    const result = await execute(scope, {
      name,
      image,
      command: { path: `/opt/resource/${script.split(" ")[0]}`, args },
      stdin: JSON.stringify({ source, ...input }),
      mounts,
      privileged: type?.privileged ?? undefined,
    });
    succeeded(name, result);
    return JSON.parse(result.stdout);
  };
  return {
    check: async (name) => {
      const versions = await run(name, "check", { version: null }, {}) as Version[];
      const newest = versions.at(-1);
      if (newest === undefined) {
        throw new Error(`the resource \`${name}\` has no version`);
      }
      return newest;
    },
    fetch: async (name, version, params, volume) => {
      await run(name, "in /tmp/build/get", { version, params }, { "/tmp/build/get": volume });
    },
    publish: async (name, params, artifacts) => {
      const mounts = Object.fromEntries(
        Object.entries(artifacts).map(([path, volume]) => [`/tmp/build/put/${path}`, volume]),
      );
      const { version } = await run(name, "out /tmp/build/put", { params }, mounts) as {
        version: Version;
      };
      return version;
    },
    image: ({ digest }) => {
      if (resource.type !== "registry-image" && resource.type !== "docker-image") {
        return undefined;
      }
      return digest === undefined ? imageOf(source) : `${shown(source["repository"])}@${digest}`;
    },
  };
}

function imageOf(source: Json): string {
  const tag = source["tag"] === undefined ? "" : `:${shown(source["tag"])}`;
  return shown(source["repository"]) + tag;
}

function variables(prefix: string, values: Json): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [`${prefix}_${name}`, shown(value)]),
  );
}

function succeeded(name: string, result: RunResult): void {
  if (result.code !== 0) {
    throw new StepFailure(`\`${name}\`: ${result.message || `exit code ${result.code}`}`);
  }
}
