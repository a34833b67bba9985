// Lints, tests and builds the web service of this folder, as a real pipeline would.
//
// What `npm ci` installs is in a volume that is named after the lock file: with a cache it comes
// back in the next run, and a changed lock file gets a volume of its own. npm installs packages of
// the repository itself as links, which lead out of `node_modules`, so a cache has to keep such.
//
//     ci run examples/node-service/ci/pipeline.ts --source examples/node-service \
//       --cache --cache-outside-links keep

// Unless it is told not to, npm writes a log of each command to the home directory.
const env = { CI: "true", npm_config_logs_max: "0" };
const node: ContainerOptions = { image: "node:22", env };

export const pipeline: Pipeline = async () => {
  const source = await runtime.source({ git: false });
  const version = (await runtime.readFile(source, "VERSION")).trim();
  assert.truthy(/^\d+\.\d+\.\d+$/.test(version), `VERSION is \`${version}\`, and not like \`1.2.3\``);

  const lock = await runtime.hashFiles(["package-lock.json"]);
  const modules = await runtime.createVolume({ name: `node_modules-${lock.slice(0, 16)}` });
  await install(source, modules);

  // None of these changes the source or the dependencies, so they can run at the same time.
  const mounts = {
    ".": { volume: source, readOnly: true },
    node_modules: { volume: modules, readOnly: true },
  };
  const [, , dist] = await Promise.all([lint(mounts), test(mounts), build(mounts)]);

  // The result runs without the project around it.
  const tried = await succeed({
    ...node,
    name: "try-build",
    mounts: { dist: { volume: dist, readOnly: true } },
    command: ["node", "dist/src/main.js", "--version"],
    timeout: "1m",
  });
  assert.equal(tried.stdout.trim(), version);

  await runtime.artifact({ name: "dist", volume: dist });
};

/** Fills `node_modules`, unless the cache has done that: npm writes this file when it is done. */
async function install(source: Volume, modules: Volume) {
  const cache = await runtime.createVolume({ name: "npm" });
  await succeed({
    ...node,
    name: "install",
    env: { ...env, npm_config_cache: ".npm" },
    mounts: { ".": source, node_modules: modules, ".npm": cache },
    // The first line is for the tasks that follow: in a volume that they cannot change, places for
    // other volumes have to be there.
    script: `
      mkdir -p dist reports
      if [ -e node_modules/.package-lock.json ]; then echo "node_modules is up to date"; exit; fi
      npm ci --prefer-offline --no-audit --no-fund
    `,
    timeout: "10m",
  });
}

type Places = Record<string, VolumeMount>;

async function lint(mounts: Places) {
  await succeed({ ...node, name: "lint", mounts, command: ["npm", "run", "lint"], timeout: "5m" });
}

async function test(mounts: Places) {
  const reports = await runtime.createVolume();
  try {
    await succeed({
      ...node,
      name: "test",
      mounts: { ...mounts, reports },
      script: `npm test -- \\
        --test-reporter=spec --test-reporter-destination=stdout \\
        --test-reporter=junit --test-reporter-destination=reports/junit.xml`,
      timeout: "10m",
    });
  } finally {
    // Whoever looks for the reason of a failure wants the report most.
    await runtime.artifact({ name: "test-report", volume: reports });
  }
}

async function build(mounts: Places): Promise<Volume> {
  const dist = await runtime.createVolume();
  await succeed({
    ...node,
    name: "build",
    mounts: { ...mounts, dist },
    command: ["npm", "run", "build"],
    timeout: "5m",
  });
  return dist;
}

/** A task that has to succeed for the pipeline to go on. */
async function succeed(options: RunOptions): Promise<RunResult> {
  const result = await runtime.run(options);
  assert.truthy(result.ok, `${options.name} has to succeed`);
  return result;
}
