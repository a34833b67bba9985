// The names of the volumes behind `caches`.

import type { Cache } from "ext:ci/plan/types.ts";

/** The paths that share a name, for all tasks that are known so far. */
const paths = new Map<string, Set<string>>();

/** Which path a volume belongs to, once a task has mounted it. */
const owners = new Map<string, string>();

/** Makes a task's caches known, so that no two paths meet in one name. */
export function declareCaches(task: string, caches: readonly Cache[] = []): void {
  for (const cache of caches) {
    const path = cachePath(task, cache);
    const name = sanitized(path);
    paths.set(name, (paths.get(name) ?? new Set()).add(path));
  }
}

/** The name of a cache's volume, the same in every run. */
export function cacheName(task: string, cache: Cache): string {
  const path = cachePath(task, cache);
  const short = `cache-${sanitized(path)}`;
  const long = `${short}-${digest(path)}`;
  if (owners.get(long) === path) {
    return long;
  }
  // A config that was read from a file may come too late to be known to the tasks before it.
  const alone = path === sanitized(path) || paths.get(sanitized(path))?.size === 1;
  const free = (owners.get(short) ?? path) === path;
  const name = alone && free || owners.get(short) === path ? short : long;
  owners.set(name, path);
  return name;
}

function cachePath(task: string, { path, scope }: Cache): string {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  const clean = (path.startsWith("/") ? "/" : "") + parts.join("/");
  return scope === "task" ? `${task}/${clean}` : clean;
}

function sanitized(path: string): string {
  return path.replace(/[^A-Za-z0-9._-]/gu, "-");
}

/** FNV-1a. */
function digest(text: string): string {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return hash.toString(16).padStart(8, "0");
}
