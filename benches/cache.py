"""Measures restoring and persisting volumes beside the pipes that people use instead.

The S3 server runs on the loopback address, files are in memory, so that neither network nor disk is what is measured.
Everything that is compared runs in turns. Prints medians and ratios, and writes every measurement to benches/results/.
"""

import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import raw

HERE = pathlib.Path(__file__).resolve().parent
CI = os.environ["CI_BINARY"]
BUCKET = os.environ["CI_TEST_S3_BUCKET"]
ENDPOINT = os.environ["CI_TEST_S3_ENDPOINT"]
REGION = os.environ["CI_TEST_S3_REGION"]
ROUNDS = int(os.environ.get("ROUNDS", "3"))
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": os.environ["CI_TEST_S3_KEY"],
    "AWS_SECRET_ACCESS_KEY": os.environ["CI_TEST_S3_SECRET"],
    "AWS_REGION": REGION,
}
RCLONE = f"store:{BUCKET}"
RCLONE_CONFIG = {
    "RCLONE_CONFIG_STORE_TYPE": "s3",
    "RCLONE_CONFIG_STORE_PROVIDER": "Other",
    "RCLONE_CONFIG_STORE_ENV_AUTH": "true",
    "RCLONE_CONFIG_STORE_ENDPOINT": ENDPOINT,
    "RCLONE_CONFIG_STORE_REGION": REGION,
    "RCLONE_CONFIG": "/dev/null",
}
S5 = f"s5cmd --log error --endpoint-url {ENDPOINT}"
PIPELINE = """
export const pipeline = async () => {
  const data = await runtime.createVolume({ name: "data" });
  const result = await runtime.run({
    name: "use", image: "busybox", command: { path: "sh", args: ["-c", pipelineContext.args[0]!] }, mounts: { data },
  });
  assert.equal(result.code, 0);
};
"""
results = {}


def sh(command, cwd=None):
    """The wall time in seconds of a shell command that must succeed."""
    environment = {**os.environ, **CREDENTIALS, **RCLONE_CONFIG}
    # rclone fails with it, and the server speaks plain HTTP.
    environment.pop("AWS_CA_BUNDLE", None)
    start = time.perf_counter()
    subprocess.run(["bash", "-o", "pipefail", "-ec", command], check=True, cwd=cwd, env=environment)
    return time.perf_counter() - start


class Runs:
    """Runs of a pipeline with one volume."""

    def __init__(self, work):
        self.work = work
        self.pipeline = work / "pipeline.ts"
        self.pipeline.write_text(PIPELINE)

    def run(self, script, prefix, settings="", wrapper=()):
        """The ends of restore and persist, and the peak memory in MiB."""
        dsn = f"native://?dir={self.work}/state&cache=s3://{BUCKET}/{prefix}?endpoint={ENDPOINT}&region={REGION}{settings}"
        command = [*wrapper, CI, "run", str(self.pipeline), "--output", "json", "--cache-strict", "--", script]
        with open(self.work / "log", "wb") as log:
            process = subprocess.Popen(command, stdout=log, env={**os.environ, **CREDENTIALS, "CI_DRIVER": dsn})
            _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, (self.work / "log").read_text()[-2000:]
        ends = {}
        for line in (self.work / "log").read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "cache_finished":
                ends[event["operation"]] = event
        return ends, usage.ru_maxrss / 1024


def dataset(work, name):
    path = work / "data" / name
    path.mkdir(parents=True)
    if name == "small-files":
        # Half of it compresses.
        for directory in range(100):
            (path / str(directory)).mkdir()
            for file in range(1000):
                (path / str(directory) / str(file)).write_bytes(os.urandom(2048) + b"abcdefgh" * 256)
    elif name == "incompressible":
        sh(f"head -c {1 << 30} /dev/urandom > {path}/random")
    elif name == "build-output":
        target = pathlib.Path(CI).parent
        total = 0
        for file in sorted((target / "deps").iterdir(), key=lambda file: file.name):
            if file.is_file() and total + file.stat().st_size < 1 << 30:
                total += file.stat().st_size
                shutil.copy2(file, path)
    elif name == "node_modules":
        shutil.copytree(HERE.parent / "tests/typings/node_modules", path / "node_modules", symlinks=True)
    return path


def compare(work, name):
    data = dataset(work, name)
    size = int(subprocess.check_output(["du", "-sb", data]).split()[0])
    times = {}

    def took(what, seconds):
        times.setdefault(what, []).append(seconds)

    for number in range(ROUNDS):
        prefix = f"bench/{name}/{os.getpid()}/{number}"
        key = f"s3://{BUCKET}/{prefix}/rival.tar.zst"
        runs = Runs(work)
        ends, _ = runs.run(f"cp -a {data}/. data/", prefix)
        assert ends["persist"]["outcome"] == "uploaded", ends
        took("persist: ci", ends["persist"]["duration_ms"] / 1000)
        took("persist: tar | zstd -T0 | s5cmd", sh(f"tar -C {data} -c . | zstd -q -T0 | {S5} pipe {key}"))
        took("persist: tar | zstd -T0 | rclone", sh(f"tar -C {data} -c . | zstd -q -T0 | rclone rcat {RCLONE}/{prefix}/rclone"))
        ends, _ = runs.run("true", prefix)
        assert ends["restore"]["outcome"] == "hit" and ends["persist"]["outcome"] == "unchanged", ends
        took("restore: ci", ends["restore"]["duration_ms"] / 1000)
        took("unchanged: ci", ends["persist"]["duration_ms"] / 1000)
        for rival, command in [("s5cmd", f"{S5} cat {key}"), ("rclone", f"rclone cat {RCLONE}/{prefix}/rclone")]:
            target = work / "out"
            target.mkdir()
            took(f"restore: {rival} | zstd -d | tar x", sh(f"{command} | zstd -q -d | tar -C {target} -x"))
            shutil.rmtree(target)
        took("unchanged: find -ls", sh(f"find {data} -ls >/dev/null"))

        # Each stage alone.
        archive = work / "archive"
        sh(f"tar -C {data} -c . > {archive}")
        took("stage: zstd -T0 -1 to /dev/null", sh(f"zstd -q -1 -T0 -c {archive} >/dev/null"))
        sh(f"zstd -q -1 -T0 {archive} -o {archive}.zst")
        took("stage: zstd -d to /dev/null", sh(f"zstd -q -d -c {archive}.zst >/dev/null"))
        took("stage: s5cmd cp, up", sh(f"{S5} cp {archive}.zst {key}"))
        took("stage: s5cmd cp, down", sh(f"{S5} cp {key} {archive}.down"))
        target = work / "out"
        target.mkdir()
        took("stage: tar x from memory", sh(f"tar -C {target} -xf {archive}"))
        shutil.rmtree(target)
        sh(f"rm -f {archive}*; {S5} rm 's3://{BUCKET}/{prefix}/*'")
    shutil.rmtree(data)

    medians = {what: statistics.median(values) for what, values in times.items()}
    print(f"\n{name}: {size / 1e6:.0f} MB, medians of {ROUNDS}", flush=True)
    for what, value in sorted(medians.items()):
        own = medians.get(what.split(":")[0] + ": ci")
        ratio = f"  {value / own:5.2f} of ci" if own else ""
        print(f"  {what:40} {value:8.3f} s{ratio}")
    results[name] = {"bytes": size, "seconds": times}


def memory(work):
    """Peak memory for 1 and 4 GiB, both ways."""
    peaks = {}
    for gib in (1, 4):
        prefix = f"bench/memory/{os.getpid()}/{gib}"
        runs = Runs(work)
        fill = f"for i in 1 2 3 4; do head -c {gib << 28} /dev/urandom > data/$i; done"
        _, up = runs.run(fill, prefix)
        _, down = runs.run("true", prefix)
        peaks[gib] = {"persist": up, "restore": down}
        sh(f"{S5} rm 's3://{BUCKET}/{prefix}/*'")
    print("\npeak memory")
    for gib, peak in peaks.items():
        print(f"  {gib} GiB: persist {peak['persist']:.0f} MiB, restore {peak['restore']:.0f} MiB")
    results["memory"] = peaks


def calls(work):
    """System calls for each small file that is restored."""
    data, prefix = dataset(work, "small-files"), f"bench/calls/{os.getpid()}"
    runs = Runs(work)
    runs.run(f"cp -a {data}/. data/", prefix)
    summary = work / "strace"
    runs.run("true", prefix, "&cache_policy=pull", ["strace", "-f", "-c", "-o", str(summary)])
    names = ("openat", "openat2", "write", "utimensat", "newfstatat", "fstat", "fchmod", "fchown", "close")
    counts = {}
    for line in summary.read_text().splitlines():
        columns = line.split()
        if columns and columns[-1] in names and re.fullmatch(r"\d+", columns[3]):
            counts[columns[-1]] = int(columns[3])
    print(f"\nsystem calls for files, of 100,000 small ones: {counts}")
    print(f"  {sum(counts.values()) / 100_000:.2f} for each file")
    results["calls"] = counts
    shutil.rmtree(data)


DATASETS = ["node_modules", "build-output", "small-files", "incompressible"]
OTHERS = {"memory": memory, "calls": calls}


def main():
    known = [*DATASETS, *OTHERS]
    wanted = sys.argv[1:] or known
    for name in wanted:
        if name not in known:
            sys.exit(f"bench: unknown benchmark `{name}`, expected one of {', '.join(known)}")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        work = pathlib.Path(directory)
        for name in wanted:
            if name in OTHERS:
                OTHERS[name](work)
            else:
                compare(work, name)
    raw.keep("cache", results)


main()
