// Builds, tests and archives the small C project of this folder, as a real pipeline would.
//
// The `objects` volume keeps what the compiler made. It has a name, so a cache can bring it back
// for the next run, and `make` then compiles only what has changed since.
//
//     ci run examples/c-project/pipeline.ts --source examples/c-project

const image = "gcc:14";

export const pipeline: Pipeline = async () => {
  const source = await runtime.source();
  const objects = await runtime.createVolume({ name: "objects" });
  const release = await runtime.createVolume();
  const mounts = { ".": source, objects, release };

  const make = (name: string, target: string) =>
    succeed({
      name,
      image,
      mounts,
      command: ["make", target, "OBJECTS=objects", "DESTDIR=release"],
      timeout: "5m",
    });

  await make("build", "all");

  // The tests and the archive need the build, but not each other.
  const [test] = await Promise.all([make("test", "check"), make("archive", "archive")]);
  assert.containsString(test.stdout, "0 failures");

  const tally = await succeed({
    name: "try-release",
    image,
    mounts: { release },
    script: "tar -xzf release/tally.tar.gz\n./tally",
    stdin: "as simple\nas that\n",
  });
  assert.equal(tally.stdout, "2 4 18\n");

  await runtime.artifact({ name: "tally.tar.gz", volume: release, path: "tally.tar.gz" });
};

/** A task that has to succeed for the pipeline to go on. */
async function succeed(options: RunOptions): Promise<RunResult> {
  const result = await runtime.run(options);
  assert.truthy(result.ok, `${options.name} has to succeed`);
  return result;
}
