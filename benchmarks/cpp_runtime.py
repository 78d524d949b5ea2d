"""Size, start and peak memory of the C++ library beside the Python runtime, on one engine.

    python -m benchmarks.cpp_runtime --invert build/cpp/examples/invert --out cpp_runtime.json

With `--provider native` the synthesis runs on our own engine, the rest on OpenVINO as without.

Each row is a process of its own that inverts `examples/photo.jpg` and draws it as a sketch: wall
and CPU time from start to end and the largest resident memory, medians of several. Sizes are of the
files that an application has to carry beside the bundle and the engine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from rs_runtime.diagnostics.machine import machine_facts

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "examples" / "photo.jpg"
PACKAGES = ("numpy", "pillow", "opencv-python-headless")
PYTHON = """
import sys
from rs_runtime.image_io import write_picture
from rs_runtime.pipeline import load
runtime = load(provider=sys.argv[3], threads=int(sys.argv[4]))
portrait = runtime.invert(sys.argv[1], check=False)
write_picture(sys.argv[2], portrait.synthesize("sketch"))
"""


def measured(command: Sequence[str], repeats: int) -> dict[str, float]:
    """Medians of seconds on the clock and of the CPU, and of peak memory in MiB."""
    seconds, cpu_seconds, peaks = [], [], []
    for _ in range(repeats):
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds.append(time.perf_counter() - started)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{command[0]}: exit status {process.returncode}")
        cpu_seconds.append(usage.ru_utime + usage.ru_stime)
        peaks.append(usage.ru_maxrss / 1024)
    return {
        "seconds": round(statistics.median(seconds), 3),
        "cpu_seconds": round(statistics.median(cpu_seconds), 3),
        "peak_mib": round(statistics.median(peaks), 1),
    }


def package_bytes(package: str) -> int:
    """Bytes of an installed package's files."""
    return sum(
        path.locate().stat().st_size for path in metadata.files(package) if path.locate().is_file()
    )


def sizes(invert: Path) -> dict[str, int]:
    """Bytes of our library, stripped, and of the Python packages that do its work."""
    (library,) = invert.parent.parent.glob("librefinestyle.so.*.*.*")
    with tempfile.TemporaryDirectory() as folder:
        stripped = Path(folder) / "stripped"
        subprocess.run(["strip", "-o", str(stripped), str(library)], check=True)
        found = {library.name: stripped.stat().st_size}
    return found | {package: package_bytes(package) for package in PACKAGES}


def main() -> None:
    """Measures and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--invert", type=Path, required=True, help="the built example program")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to be written")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--provider", default="openvino", choices=("openvino", "native"))
    arguments = parser.parse_args()
    provider = arguments.provider
    with tempfile.TemporaryDirectory() as folder:
        out, threads = str(Path(folder) / "out.png"), str(arguments.threads)
        own = [str(arguments.invert), str(PHOTO), "--domain", "sketch", "--out", out]
        own += ["--provider", provider, "--threads", threads]
        python = [sys.executable, "-c", PYTHON, str(PHOTO), out, provider, threads]
        rows = {
            "C++": measured(own, arguments.repeats),
            "Python": measured(python, arguments.repeats),
        }
    report = {
        "machine": machine_facts(),
        "provider": provider,
        "threads": arguments.threads,
        "repeats": arguments.repeats,
        "bytes": sizes(arguments.invert),
        "process": rows,
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
