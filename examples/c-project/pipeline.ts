// Builds, tests and archives the small C project of this folder, as a real pipeline would.
//
// The `objects` volume keeps what the compiler made. It has a name, so a cache can bring it back
// for the next run, and `make` then compiles only what has changed since.
//
//     ci run examples/c-project/pipeline.ts

const image = "gcc:14";

export const pipeline: Pipeline = async () => {
  const source = await runtime.createVolume({ name: "source" });
  const objects = await runtime.createVolume({ name: "objects" });
  const release = await runtime.createVolume({ name: "release" });
  const mounts = { source, "source/objects": objects, release };

  // On a machine of one's own the project is at hand; a fleet would clone it here.
  await succeed({
    name: "checkout",
    image,
    command: { path: "cp", args: ["-Rp", import.meta.dirname!, "source/"] },
    mounts: { source },
  });

  const make = (name: string, target: string) =>
    succeed({
      name,
      image,
      command: {
        path: "make",
        args: ["-C", "source/c-project", target, "OBJECTS=../objects", "DESTDIR=../../release"],
      },
      mounts,
      timeout: "5m",
    });

  await make("build", "all");

  // The tests and the archive need the build, but not each other.
  const [test] = await Promise.all([make("test", "check"), make("archive", "archive")]);
  assert.containsString(test.stdout, "0 failures");

  const tally = await succeed({
    name: "try-release",
    image,
    command: { path: "sh", args: ["-c", "tar -xzf release/tally.tar.gz && ./tally"] },
    mounts: { release },
    stdin: "as simple\nas that\n",
  });
  assert.equal(tally.stdout, "2 4 18\n");
};

/** A task that has to succeed for the pipeline to go on. */
async function succeed(options: RunOptions): Promise<RunResult> {
  const result = await runtime.run(options);
  assert.equal(result.code, 0, `${options.name} has to succeed`);
  return result;
}
