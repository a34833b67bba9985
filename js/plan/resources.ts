// `get` and `put`.

import { mounted } from "ext:ci/plan/files.ts";
import { resourceDriver } from "ext:ci/plan/resource_types.ts";
import { slotted } from "ext:ci/plan/slots.ts";
import type {
  Get,
  Json,
  Outcome,
  Put,
  Resource,
  Scope,
  Step,
  Version,
} from "ext:ci/plan/types.ts";
import { resolved } from "ext:ci/plan/vars.ts";

/**
 * Fetches a version as an artifact. All steps of a run that ask for one get the same. What the command line gives
 * is not fetched.
 */
export function get(given: Get): Step {
  return (scope) =>
    slotted(scope, async (): Promise<Outcome> => {
      const options = resolved(given, scope.vars);
      const input = await scope.job.run.options.local?.input(options.get, scope.job);
      if (input !== undefined) {
        scope.artifacts.set(options.get, input);
        return "success";
      }
      const resource = named(options.resource ?? options.get, scope);
      const version = pinned(options.version) ?? pinned(resource.version) ??
        await newest(resource, scope);
      await fetch(options.get, resource, version, options.params ?? {}, scope);
      return "success";
    });
}

/** Publishes, and fetches what was published; later steps get that version. */
export function put(given: Put): Step {
  return (scope) =>
    slotted(scope, async (): Promise<Outcome> => {
      const options = resolved(given, scope.vars);
      const resource = named(options.resource ?? options.put, scope);
      const params = options.params ?? {};
      const driver = resourceDriver(resource, scope);
      const mounts = inputs(options, params, scope);
      const { version } = await driver.publish(`${options.put}${scope.suffix}`, params, mounts);
      scope.job.run.versions.set(resource.name, Promise.resolve(version));
      if (options.no_get !== true) {
        await fetch(options.put, resource, version, options.get_params ?? {}, scope);
      }
      return "success";
    });
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
  const found = await driver.fetch(`${name}${scope.suffix}: get`, version, params, volume);
  scope.artifacts.set(name, { volume, image: driver.image?.(version) });
  scope.vars.set(name, Object.fromEntries(found.metadata.map(({ name, value }) => [name, value])));
}

function named(name: string, scope: Scope): Resource {
  const resource = scope.job.run.options.resources?.find((resource) => resource.name === name);
  if (resource === undefined) {
    throw new Error(`unknown resource \`${name}\``);
  }
  return resource;
}

/** Looks for the newest version once a run. */
async function newest(resource: Resource, scope: Scope): Promise<Version> {
  const { versions } = scope.job.run;
  const asked = versions.get(resource.name);
  if (asked !== undefined) {
    const version = await asked.catch(() => undefined);
    // Who asked may have been ended, by a timeout of its own for instance.
    return version ?? newest(resource, scope);
  }
  const version = resourceDriver(resource, scope).check(`${resource.name}: check`);
  versions.set(resource.name, version);
  try {
    return await version;
  } catch (error) {
    versions.delete(resource.name);
    throw error;
  }
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
  const absent = Array.isArray(options.inputs) &&
    options.inputs.find((name) => !scope.artifacts.has(name));
  if (absent) {
    throw new Error(`the input \`${absent}\` comes from no earlier step`);
  }
  return Object.fromEntries(
    [...scope.artifacts]
      .filter(([name]) => wanted(name))
      .flatMap(([name, artifact]) => mounted(name, artifact)),
  );
}
