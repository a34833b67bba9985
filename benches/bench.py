"""Measures `ci` beside what people would use instead.

Everything that is compared runs in turns, so that a machine that slows down slows all of them. Prints medians and
ratios, and writes every single measurement to benches/results/.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import raw

HERE = pathlib.Path(__file__).resolve().parent
CI = os.environ["CI_BINARY"]
BIN = HERE / "node_modules" / ".bin"

HELLO = """
export const pipeline = async () => {
  const result = await runtime.run({ name: "hello", image: "busybox", command: { path: "true" } });
  assert.equal(result.code, 0);
};
"""
SEQUENTIAL = """
export const pipeline = async () => {
  const count = Number(pipelineContext.args[0]);
  for (let i = 0; i < count; i++) {
    await runtime.run({ name: "task", image: "busybox", command: { path: "true" } });
  }
};
"""
CONCURRENT = """
export const pipeline = async () => {
  const count = Number(pipelineContext.args[0]);
  await Promise.all(Array.from({ length: count }, (_, i) =>
    runtime.run({ name: `task-${i}`, image: "busybox", command: { path: "true" } })));
};
"""
OUTPUT = """
export const pipeline = async () => {
  const result = await runtime.run({ name: "print", image: "busybox", command: { path: "sh", args: ["-c", pipelineContext.args[0]!] } });
  assert.equal(result.code, 0);
};
"""
NODE = """
import { spawnSync } from "node:child_process";
const result = spawnSync("true");
if (result.status !== 0) process.exit(1);
"""
DENO = """
const result: Deno.CommandOutput = await new Deno.Command("true").output();
if (result.code !== 0) Deno.exit(1);
"""
BUN = """
const result: { exitCode: number } = Bun.spawnSync(["true"]);
if (result.exitCode !== 0) process.exit(1);
"""


def native(package, *paths):
    """The binary itself, not the Node.js script that npm puts in front of it."""
    for path in paths:
        for found in sorted((HERE / "node_modules").glob(path)):
            if found.is_file() and os.access(found, os.X_OK):
                return str(found)
    sys.exit(f"bench: the binary of `{package}` is missing: run `npm ci --prefix benches`")


def measure(command, cwd):
    """Wall time in ms, peak memory in MiB and processor time in ms of a command and what it waited for."""
    start = time.perf_counter()
    with open(os.devnull, "r+b") as null:
        pid = os.posix_spawnp(
            command[0],
            command,
            {**os.environ, "XDG_CACHE_HOME": str(cwd)},
            file_actions=[(os.POSIX_SPAWN_DUP2, null.fileno(), fd) for fd in (0, 1)],
        )
        _, status, usage = os.wait4(pid, 0)
    wall = (time.perf_counter() - start) * 1000
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"bench: {' '.join(command)} failed")
    return {"ms": wall, "MiB": usage.ru_maxrss / 1024, "cpu_ms": (usage.ru_utime + usage.ru_stime) * 1000}


def in_turns(rounds, commands, cwd):
    """The measurements of each command, after one round that only warms caches."""
    results = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            result = command() if callable(command) else measure(command, cwd)
            if turn > 0:
                results[name].append(result)
    return results


def median(results, unit="ms"):
    return statistics.median(result[unit] for result in results)


def show(title, results, base):
    print(f"\n{title}")
    for name, measured in results.items():
        print(
            f"  {name:<34} {median(measured):9.1f} ms   {median(measured, 'MiB'):7.1f} MiB"
            f"   x{median(measured) / median(results[base]):.2f} of {base}"
        )


def startup(cwd):
    for name, text in {"hello.ts": HELLO, "node.mjs": NODE, "deno.ts": DENO, "bun.ts": BUN}.items():
        (cwd / name).write_text(text)
    deno = native("deno", "@deno/*/deno", "deno/deno")
    bun = native("bun", "@oven/bun-linux-x64/bin/bun", "bun/bin/bun.exe", "@oven/*/bin/bun")
    results = in_turns(
        40,
        {
            "ci": [CI, "run", str(cwd / "hello.ts")],
            "bun": [bun, "run", str(cwd / "bun.ts")],
            "deno": [deno, "run", "--allow-run", "--no-check", str(cwd / "deno.ts")],
            "node": ["node", str(cwd / "node.mjs")],
        },
        cwd,
    )
    show("a TypeScript file that runs `true` once", results, "bun")
    return results


def spawn_loop(count):
    def run():
        start = time.perf_counter()
        for _ in range(count):
            os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
        return {"ms": (time.perf_counter() - start) * 1000, "MiB": 0.0, "cpu_ms": 0.0}

    return run


def tasks(cwd):
    (cwd / "sequential.ts").write_text(SEQUENTIAL)
    (cwd / "concurrent.ts").write_text(CONCURRENT)
    count = 1000
    arguments = cwd / "arguments"
    arguments.write_text("\n".join(str(number) for number in range(count)))
    ci = [CI, "run", "--output", "json"]
    results = in_turns(
        7,
        {
            "ci, 1 task": [*ci, str(cwd / "sequential.ts"), "--", "1"],
            "ci, one after the other": [*ci, str(cwd / "sequential.ts"), "--", str(count)],
            "posix_spawn loop": spawn_loop(count),
            "ci, all at once": [*ci, str(cwd / "concurrent.ts"), "--", str(count)],
            "xargs -P": ["xargs", "-a", str(arguments), "-n", "1", "-P", str(count), "true"],
        },
        cwd,
    )
    show(f"{count} tasks of `true`", results, "posix_spawn loop")
    once = median(results["ci, 1 task"])
    for name, base in [("ci, one after the other", "posix_spawn loop"), ("ci, all at once", "xargs -P")]:
        over = (median(results[name]) - once - median(results[base])) / count
        print(f"  overhead a task, {name}: {over:.3f} ms over {base}")
    return results


def output(cwd):
    (cwd / "output.ts").write_text(OUTPUT)
    line = "make[1]: compiling src/module/file.c with optimisation"
    (cwd / "lines").write_text((line + "\n") * 200_000)
    copies = (1 << 30) // ((len(line) + 1) * 200_000) + 1
    commands = {
        "lines": "for i in $(seq %d); do cat %s; done" % (copies, cwd / "lines"),
        "zeros": "head -c 1G /dev/zero",
        "short lines (`yes`)": "yes 2>/dev/null | head -c 1G",
    }
    results = {}
    for name, command in commands.items():
        pair = in_turns(
            5,
            {
                f"ci, {name}": [CI, "run", "--output", "plain", str(cwd / "output.ts"), "--", command],
                f"| cat, {name}": ["sh", "-c", f"({command}) | cat >/dev/null"],
            },
            cwd,
        )
        show(f"a task that prints 1 GiB: {name}", pair, f"| cat, {name}")
        speed = median(pair[f"| cat, {name}"]) / median(pair[f"ci, {name}"])
        print(f"  {speed:.2f} of the speed of a pipe into cat")
        results.update(pair)
    return results


def size(_cwd):
    size = os.path.getsize(CI) / 2**20
    with tempfile.TemporaryDirectory() as directory:
        copy = os.path.join(directory, "ci")
        subprocess.run(["strip", "-o", copy, CI], check=True)
        stripped = os.path.getsize(copy) / 2**20
    print(f"\nthe binary: {size:.1f} MiB, {stripped:.1f} MiB without symbols")
    return {"MiB": size, "stripped_MiB": stripped}


def yaml(cwd):
    """10,000 tasks in 100 jobs: checking them, and what the interpreter adds to running them."""
    jobs, steps = 100, 100
    lines = ["jobs:"]
    for job in range(jobs):
        lines.append(f"- name: job-{job}\n  plan:")
        for step in range(steps):
            lines.append(f"  - task: task-{job}-{step}\n    config: {{ platform: linux, run: {{ path: 'true' }} }}")
    (cwd / "many.yml").write_text("\n".join(lines) + "\n")
    (cwd / "many.ts").write_text(
        f"""
        export const pipeline = async () => {{
          let job = 0;
          const worker = async () => {{
            while (job < {jobs}) {{
              const number = job++;
              for (let step = 0; step < {steps}; step++) {{
                await runtime.run({{ name: `task-${{number}}-${{step}}`, image: "busybox", command: {{ path: "true" }} }});
              }}
            }}
          }};
          await Promise.all([worker(), worker()]);
        }};
        """
    )
    results = in_turns(
        5,
        {
            "check": [CI, "check", str(cwd / "many.yml")],
            "interpreted": [CI, "run", "--output", "json", "--max-in-flight", "2", str(cwd / "many.yml")],
            "TypeScript": [CI, "run", "--output", "json", str(cwd / "many.ts")],
        },
        cwd,
    )
    show(f"{jobs * steps} tasks in {jobs} jobs", results, "TypeScript")
    over = (median(results["interpreted"]) - median(results["TypeScript"])) / (jobs * steps)
    print(f"  the interpreter adds {over:.3f} ms a task")
    return results


BENCHES = {"startup": startup, "tasks": tasks, "output": output, "yaml": yaml, "size": size}


def main():
    names = sys.argv[1:] or list(BENCHES)
    for name in names:
        if name not in BENCHES:
            sys.exit(f"bench: unknown benchmark `{name}`, expected one of {', '.join(BENCHES)}")
    results = {}
    with tempfile.TemporaryDirectory() as directory:
        for name in names:
            results[name] = BENCHES[name](pathlib.Path(directory))
    raw.keep("bench", results)


main()
