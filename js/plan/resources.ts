// `get` and `put`.

import { modified } from "ext:ci/plan/modifiers.ts";
import { resourceDriver } from "ext:ci/plan/resource_types.ts";
import type { Get, Json, Modifiers, Put, Resource, Scope, Step, Version } from "ext:ci/plan/types.ts";
import { resolved } from "ext:ci/plan/vars.ts";

/** Fetches a version as an artifact. All steps of a run that ask for one get the same. */
export function get(given: Get, modifiers?: Modifiers): Step {
  return modified(slotted(async (scope) => {
    const options = resolved(given, scope.vars);
    const resource = find(options.resource ?? options.get, scope);
    const version = pinned(options.version) ?? pinned(resource.version) ??
      await newest(resource, scope);
    await fetch(options.get, resource, version, options.params ?? {}, scope);
    return "success";
  }), modifiers);
}

/** Publishes, and fetches what was published; later steps get that version. */
export function put(given: Put, modifiers?: Modifiers): Step {
  return modified(slotted(async (scope) => {
    const options = resolved(given, scope.vars);
    const resource = find(options.resource ?? options.put, scope);
    const params = options.params ?? {};
    const driver = resourceDriver(resource, scope);
    const mounts = inputs(options, params, scope);
    const version = await driver.publish(`${options.put}${scope.suffix}`, params, mounts);
    scope.job.run.versions.set(resource.name, Promise.resolve(version));
    if (options.no_get !== true) {
      await fetch(options.put, resource, version, options.get_params ?? {}, scope);
    }
    return "success";
  }), modifiers);
}

/** Resources count as tasks where those are limited. */
function slotted(step: Step): Step {
  return (scope) => scope.job.slots(() => scope.job.run.slots(() => step(scope)));
}

async function fetch(
  name: string,
  resource: Resource,
  version: Version,
  params: Json,
  scope: Scope,
): Promise<void> {
  const driver = resourceDriver(resource, scope);
  const volume = await runtime.createVolume();
  await driver.fetch(`${name}${scope.suffix}: get`, version, params, volume);
  scope.artifacts.set(name, { volume, image: driver.image });
}

function find(name: string, scope: Scope): Resource {
  const resource = scope.job.run.options.resources?.find((resource) => resource.name === name);
  if (resource === undefined) {
    throw new Error(`unknown resource \`${name}\``);
  }
  return resource;
}

/** Looks for the newest version once a run. */
function newest(resource: Resource, scope: Scope): Promise<Version> {
  const { versions } = scope.job.run;
  let version = versions.get(resource.name);
  if (version === undefined) {
    version = resourceDriver(resource, scope).check(`${resource.name}: check`);
    versions.set(resource.name, version);
    // Another attempt asks again.
    version.catch(() => versions.delete(resource.name));
  }
  return version;
}

function pinned(version: unknown): Version | undefined {
  return version !== null && typeof version === "object" ? version as Version : undefined;
}

/** The artifacts that a `put` sees, each at its name. */
function inputs(options: Put, params: Json, scope: Scope): Record<string, Volume> {
  const text = JSON.stringify(params);
  const wanted = (name: string): boolean =>
    options.inputs === "detect"
      ? text.includes(`"${name}"`) || text.includes(`"${name}/`)
      : Array.isArray(options.inputs)
      ? options.inputs.includes(name)
      : true;
  return Object.fromEntries(
    [...scope.artifacts]
      .filter(([name]) => wanted(name))
      .map(([name, { volume }]) => [name, volume]),
  );
}
