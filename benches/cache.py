"""Measures restoring and persisting volumes beside the pipes that people use instead.

The S3 server runs on the loopback address, files are in memory, so that neither network nor disk is what is measured.
Everything that is compared runs in turns. Prints medians and ratios, and writes every measurement to benches/results/.
"""

import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

import raw
from volumes import BUCKET, RCLONE, S5, Runs, dataset, sh

ROUNDS = int(os.environ.get("ROUNDS", "3"))
results = {}


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
