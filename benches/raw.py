"""Every single measurement, kept in a file."""

import json
import os
import pathlib
import time


def keep(benchmark, results):
    """Writes the numbers to benches/results/ and says where they are."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    folder = pathlib.Path(__file__).resolve().parent / "results"
    folder.mkdir(exist_ok=True)
    file = folder / f"{benchmark}-{now.replace(':', '')}.json"
    file.write_text(json.dumps({"time": now, "cores": os.cpu_count(), **results}, indent=1))
    print(f"\nraw numbers: {file}")
