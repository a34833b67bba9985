"""What benchmarks of volumes have in common: the S3 server, data, and runs of a pipeline with one volume."""

import json
import os
import pathlib
import shutil
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
CI = os.environ["CI_BINARY"]
BUCKET = os.environ["CI_TEST_S3_BUCKET"]
ENDPOINT = os.environ["CI_TEST_S3_ENDPOINT"]
REGION = os.environ["CI_TEST_S3_REGION"]
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

    def run(self, script, prefix, settings="", wrapper=(), driver=None, environment={}):
        """The ends of restore and persist, and the peak memory in MiB."""
        driver = driver or f"native://?dir={self.work}/state"
        dsn = f"{driver}&cache=s3://{BUCKET}/{prefix}?endpoint={ENDPOINT}&region={REGION}{settings}"
        command = [*wrapper, CI, "run", str(self.pipeline), "--output", "json", "--cache-strict", "--", script]
        with open(self.work / "log", "wb") as log:
            process = subprocess.Popen(command, stdout=log, env={**os.environ, **CREDENTIALS, **environment, "CI_DRIVER": dsn})
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
