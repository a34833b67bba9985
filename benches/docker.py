"""Measures restoring and persisting volumes of a Docker engine: by their directories, as archives through the engine, as
on native, and with the pipe through a container that people use instead.

All files are on one file system. Everything that is compared runs in turns. Prints medians and ratios, and writes every
measurement to benches/results/.
"""

import os
import pathlib
import shutil
import statistics
import sys
import tempfile

import raw
from volumes import BUCKET, S5, Runs, dataset, sh

HOST = os.environ["CI_TEST_DOCKER_HOST"]
TLS_HOST = os.environ["CI_TEST_DOCKER_TLS_HOST"]
TLS = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": os.environ["CI_TEST_DOCKER_TLS_KEYS"]}
ROUNDS = int(os.environ.get("ROUNDS", "3"))
DOCKER = f"/usr/bin/docker --host {HOST}"
results = {}


def compare(work, name):
    data = dataset(work, name)
    size = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
    times = {}

    def took(what, seconds):
        times.setdefault(what, []).append(seconds)

    drivers = {
        "native": (None, {}),
        "docker": (f"docker://bench?host={HOST}", {}),
        "docker, as archives": (f"docker://bench?host={TLS_HOST}", TLS),
    }
    first = f"bench/docker/{name}/{os.getpid()}"
    Runs(work).run(f"cp -a {data}/. data/", first, "&cache_prefix=first")
    shutil.rmtree(data)
    for number in range(ROUNDS):
        for driver, (dsn, environment) in drivers.items():
            # The key itself has nothing, so all is restored from the other prefix, and all is persisted.
            settings = f"&cache_prefix={number}/{driver.replace(', ', '-').replace(' ', '-')}&cache_fallback=first"
            ends, _ = Runs(work).run("true", first, settings, driver=dsn, environment=environment)
            assert ends["restore"]["outcome"] == "fallback" and ends["persist"]["outcome"] == "uploaded", ends
            took(f"restore: {driver}", ends["restore"]["duration_ms"] / 1000)
            took(f"persist: {driver}", ends["persist"]["duration_ms"] / 1000)
        key = f"s3://{BUCKET}/{first}/first/data.tar.zst"
        sh(f"{DOCKER} volume create rival >/dev/null")
        took(
            "restore: s5cmd | zstd -d | docker run tar x",
            sh(f"{S5} cat {key} | zstd -q -d | {DOCKER} run --rm -i -v rival:/v debian:12 tar -C /v -x"),
        )
        took(
            "persist: docker run tar c | zstd -T0 | s5cmd",
            sh(f"{DOCKER} run --rm -v rival:/v debian:12 tar -C /v -c . | zstd -q -T0 | {S5} pipe {key}.rival"),
        )
        sh(f"{DOCKER} volume rm rival >/dev/null")
    sh(f"{S5} rm 's3://{BUCKET}/{first}/*'")

    medians = {what: statistics.median(values) for what, values in times.items()}
    print(f"\n{name}: {size / 1e6:.0f} MB, medians of {ROUNDS}", flush=True)
    for what, value in sorted(medians.items()):
        native = medians[what.split(":")[0] + ": native"]
        print(f"  {what:46} {value:8.3f} s  {native / value:5.2f} of native's speed")
    results[name] = {"bytes": size, "seconds": times}


DATASETS = ["build-output", "small-files"]


def main():
    wanted = sys.argv[1:] or DATASETS
    for name in wanted:
        if name not in DATASETS:
            sys.exit(f"bench: unknown benchmark `{name}`, expected one of {', '.join(DATASETS)}")
    with tempfile.TemporaryDirectory(dir=os.environ["CI_BENCH_DIRECTORY"]) as directory:
        for name in wanted:
            compare(pathlib.Path(directory), name)
    raw.keep("docker", results)


main()
