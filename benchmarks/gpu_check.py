"""What only a GPU can show, in one file to send: python benchmarks/gpu_check.py [--parts train] [--ranks 4]

    versions   of driver, CuPy, NumPy and MPI
    train      the main job at every stage on the GPU, beside the CPU: weights, bytes, milliseconds
    tests      those marked `gpu`
    bench      beside PyTorch, where it is installed, and beside the products alone

What is printed also goes to gpu-check.txt. It holds no data and no names but the machine's GPU's. Ends with 1
where something is not as it should be.
"""

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tabulate import tabulate

ROOT = Path(__file__).parent.parent
PARTS = {"versions": 60, "train": 120, "tests": 900, "bench": 900}  # seconds for each command
NEAR = 1e-4  # between the weights of GPU and CPU: other sums, other last bits, after all steps


class Report:
    """What was seen: printed, and kept in a file line by line, so that an end by force loses nothing."""

    def __init__(self, path: str) -> None:
        self.file = Path(path).open("w", encoding="utf-8")  # noqa: SIM115  open as long as the program runs
        self.wrong: list[str] = []

    def say(self, text: str) -> None:
        print(text, flush=True)
        print(text, file=self.file, flush=True)

    def demand(self, holds: bool, text: str) -> None:
        self.say(f"{'as it should be' if holds else 'WRONG'}: {text}")
        if not holds:
            self.wrong.append(text)

    def run(self, part: str, *command: str) -> bool:
        """Run a command in the project's root; whether it ended well and in time."""
        self.say(f"\n$ {' '.join(command).replace(sys.executable, 'python')}")
        start = time.monotonic()
        told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
        try:
            done = subprocess.run(command, cwd=ROOT, timeout=PARTS[part], **told)  # type: ignore[call-overload]
        except (OSError, subprocess.TimeoutExpired) as error:
            self.demand(False, f"{part}: {error}")
            return False
        self.say(done.stdout.rstrip())
        seconds = f"{time.monotonic() - start:.0f} s"
        self.demand(done.returncode == 0, f"{part}: ended with {done.returncode} after {seconds}")
        return done.returncode == 0


def versions(report: Report, o: argparse.Namespace) -> None:
    report.say(f"Python {sys.version.split()[0]}")
    for name in ("numpy", "mpi4py", "cupy-cuda12x", "cupy-cuda13x", "torch"):
        try:
            report.say(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    fields = "--query-gpu=name,driver_version,memory.total"
    report.run("versions", "nvidia-smi", fields, "--format=csv,noheader")


def train(report: Report, o: argparse.Namespace) -> None:
    """The main job on CPU and GPU: equal bits at all stages of each, and nearly equal weights."""
    with tempfile.TemporaryDirectory() as folder:
        runs = {"cpu": ("cpu", 0)} | {f"gpu, stage {n}": ("gpu", n) for n in range(4)}
        found = {}
        for name, (device, stage) in runs.items():
            record, model = (str(Path(folder) / f"{device}{stage}.{end}") for end in ("json", "safetensors"))
            line = ["--quiet", "--device", device, "--stage", str(stage), *o.options.split()]
            line += ["--reduce", "ordered", "--record", record, "--export", model]
            start = ["mpirun", "-n", str(o.ranks), sys.executable, "-m", "zero_ref.train"]
            if report.run("train", *start, *line):
                found[name] = json.loads(Path(record).read_text()), load_file(model)
    table(report, found)
    reference = found.pop("cpu", None)
    hashes = {record["weights_sha256"] for record, _ in found.values()}
    report.demand(len(hashes) == 1 and len(found) == 4, f"weights of the stages: {len(hashes)} kind(s)")
    if reference:
        apart = [
            float(np.abs(value - reference[1][key]).max())
            for _, m in found.values()
            for key, value in m.items()
        ]
        if apart:
            report.demand(max(apart) <= NEAR, f"weights are at most {max(apart):.1e} from the CPU's")


def table(report: Report, found: dict) -> None:
    lines = []
    for name, (record, _) in found.items():
        rank = record["ranks"][0]
        bytes_ = (sum(rank["resting_bytes"].values()), rank["peak_total_bytes"])
        sent = sum(rank["sent_bytes_per_step"].values())
        ms = 1e3 * record["seconds_per_step"]
        lines.append([name, record["weights_sha256"][:16], *(f"{n:,}" for n in (*bytes_, sent)), f"{ms:.2f}"])
    heads = ["", "weights", "at rest", "peak", "sent/step", "ms per step"]
    report.say("\n" + tabulate(lines, heads, disable_numparse=True, stralign="right"))


def tests(report: Report, o: argparse.Namespace) -> None:
    report.run("tests", sys.executable, "-m", "pytest", "-m", "gpu", "-q", "--durations=5")


def bench(report: Report, o: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        line = ["--device", "gpu", "--rounds", "3", "--json", str(Path(folder) / "bench.json")]
        report.run("bench", sys.executable, "benchmarks/bench.py", *line)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--parts", default=",".join(PARTS), help="(default all)")
    p.add_argument(
        "--ranks", type=int, default=4, help="of the training runs; they may share a GPU (default 4)"
    )
    p.add_argument("--options", default="", help="more options of the training runs")
    p.add_argument("--output", default="gpu-check.txt", metavar="FILE")
    o = p.parse_args()
    report = Report(o.output)
    for name in o.parts.split(","):
        report.say(f"\n== {name}")
        {"versions": versions, "train": train, "tests": tests, "bench": bench}[name](report, o)
    report.say(
        "\n"
        + ("\n".join(["Not as it should be:", *report.wrong]) if report.wrong else "All as it should be.")
    )
    print(f"All of this is in {o.output}.")
    sys.exit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
