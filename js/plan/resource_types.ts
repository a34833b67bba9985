// What resources are made of: a program that finds, fetches and publishes versions. It is `/opt/resource` of an image,
// or `ci resource` where there are no images.

import { execute, plainImage, StepFailure } from "ext:ci/plan/outcomes.ts";
import type { Json, Resource, ResourceType, Scope, Version } from "ext:ci/plan/types.ts";
import { jsonText, parseJson, shown } from "ext:ci/plan/vars.ts";

/** What a type of resources can do. Each of these runs as a task. */
export interface ResourceDriver {
  check(name: string): Promise<Version>;
  fetch(name: string, version: Version, params: Json, volume: Volume): Promise<Found>;
  publish(name: string, params: Json, artifacts: Record<string, Volume>): Promise<Found>;
  /** The image that a version stands for. */
  image?(version: Version): string | undefined;
}

/** A version, and what its type tells about it. */
export interface Found {
  readonly version: Version;
  readonly metadata: readonly { readonly name: string; readonly value: string }[];
}

/** The program of a type of resources, and where it finds things. */
interface Program {
  readonly source: Json;
  readonly image: string | undefined;
  readonly privileged?: boolean | undefined;
  /** The directory for what it needs to find versions. */
  readonly checked?: string | undefined;
  /** The directory that it fills. */
  readonly fetched: string;
  /** The directory that has what it publishes. */
  readonly published: string;
  command(action: "check" | "in" | "out", directory?: string): Command;
}

/** The driver of a resource, for where this run takes place. */
export function resourceDriver(resource: Resource, scope: Scope): ResourceDriver {
  const program = pipelineContext.hasImages ? inImage(resource, scope) : builtIn(resource, scope);
  const { source, image, privileged, fetched, published } = program;
  const run = async (
    name: string,
    command: Command,
    request: Json,
    mounts: Record<string, Volume>,
  ): Promise<unknown> => {
    // The built-in types read numbers as most programs do.
    const encode = pipelineContext.hasImages ? JSON.stringify : jsonText;
    const stdin = encode({ source, ...request });
    const result = await execute(scope, { name, image, command, stdin, mounts, privileged });
    if (result.code !== 0) {
      throw new StepFailure(`\`${name}\`: ${result.message || `exit code ${result.code}`}`);
    }
    try {
      return parseJson(result.stdout);
    } catch {
      throw new Error(`\`${name}\`: its answer is no JSON`);
    }
  };
  return {
    check: async (name) => {
      const command = program.command("check", program.checked);
      const versions = await run(name, command, { version: null }, {});
      const newest = Array.isArray(versions) ? versions.at(-1) as unknown : undefined;
      if (newest === undefined) {
        throw new Error(`the resource \`${resource.name}\` has no version`);
      }
      return versionOf(newest);
    },
    fetch: async (name, version, params, volume) => {
      const command = program.command("in", fetched);
      return foundIn(await run(name, command, { version, params }, { [fetched]: volume }), name);
    },
    publish: async (name, params, artifacts) => {
      const mounts = Object.fromEntries(
        Object.entries(artifacts).map(([path, volume]) => [below(published, path), volume]),
      );
      const command = program.command("out", published);
      return foundIn(await run(name, command, { params }, mounts), name);
    },
    image: ({ digest }) => {
      const isImage = resource.type === "registry-image" || resource.type === "docker-image";
      if (!isImage || !pipelineContext.hasImages) {
        return undefined;
      }
      return digest === undefined ? imageOf(source) : `${shown(source["repository"])}@${digest}`;
    },
  };
}

function builtIn({ type, source }: Resource, scope: Scope): Program {
  const path = scope.job.run.options.local?.program ?? "ci";
  return {
    source: { ...declared(type, scope)?.defaults, ...source },
    checked: ".",
    image: plainImage(),
    fetched: "artifact",
    published: ".",
    command: (action, directory) => ({
      path,
      args: ["resource", type, action, ...(directory === undefined ? [] : [directory])],
    }),
  };
}

function inImage(resource: Resource, scope: Scope): Program {
  const type = declared(resource.type, scope);
  return {
    source: { ...type?.defaults, ...resource.source },
    image: type === undefined
      ? `concourse/${resource.type}-resource`
      : imageOf(type.source ?? {}),
    privileged: type?.privileged ?? undefined,
    fetched: "/tmp/build/get",
    published: "/tmp/build/put",
    command: (action, directory) => ({
      path: `/opt/resource/${action}`,
      args: directory === undefined ? [] : [directory],
    }),
  };
}

function below(directory: string, path: string): string {
  return directory === "." ? path : `${directory}/${path}`;
}

function declared(name: string, scope: Scope): ResourceType | undefined {
  return scope.job.run.options.resource_types?.find((type) => type.name === name);
}

/** An image by the source of a `registry-image`. */
export function imageOf(source: Json): string {
  const tag = source["tag"] === undefined ? "" : `:${shown(source["tag"])}`;
  return shown(source["repository"]) + tag;
}

/** What `in` and `out` answer. */
function foundIn(answer: unknown, name: string): Found {
  const { version, metadata } = (answer ?? {}) as { version?: unknown; metadata?: unknown };
  if (version === null || typeof version !== "object") {
    throw new Error(`\`${name}\`: its answer has no version`);
  }
  const entries = Array.isArray(metadata) ? metadata as Found["metadata"] : [];
  return { version: versionOf(version), metadata: entries };
}

/** The fields of a version are text. */
function versionOf(value: unknown): Version {
  const fields = Object.entries((value ?? {}) as Json);
  return Object.fromEntries(fields.map(([name, field]) => [name, shown(field)]));
}
