"""Step time and memory of every stage beside PyTorch's: python benchmarks/bench.py [--device gpu] [--help]

In each round every system runs once, one after another, so what disturbs the machine disturbs all of
them; ratios are taken within a round, and the median over the rounds is shown. A round in which others kept
more than a tenth of a core busy is repeated, up to --repeat times; `others` is what they had in the rounds
that count. PyTorch takes part where it is installed (requirements-bench.txt); what fails or does not end is a
line that says so. Every run is written to --json at once, and --go-on takes those that are there as they
are. On a GPU one rank runs beside plain PyTorch, both in float32 without TF32; MiB are those of their pools
of device memory.
"""

import argparse
import importlib.util
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from others import Others
from shapes import SHAPES
from tabulate import tabulate

HERE = Path(__file__).parent
LIMIT = 300  # seconds for one run
QUIET = 0.1  # cores that others may keep busy
RIVALS = {0: ("ddp", "ddp-zero1"), 1: ("ddp", "ddp-zero1"), 2: ("fsdp2-keep",), 3: ("fsdp2",)}
ON_A_GPU = dict.fromkeys(range(4), ("torch",))

Rivals = dict[int, tuple[str, ...]]  # stage: what it is compared with
Said = dict[str, Any]  # "ms", "mib" and so on of one run; or "failed": why


def output(command: list[str], count: int = 1, **environment: str) -> Said:
    """The JSON that a command prints; `count` copies of it at once get their RANK."""
    copies = []
    with Others() as others:
        for rank in range(count):
            own = {**os.environ, **environment, "RANK": str(rank), "WORLD_SIZE": str(count)}
            told = {"env": own, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            copies.append(subprocess.Popen(command, start_new_session=True, **told))  # type: ignore[call-overload]
        try:
            texts = [copy.communicate(timeout=LIMIT) for copy in copies]
        except subprocess.TimeoutExpired:
            return {"failed": f"did not end in {LIMIT} s"}
        finally:
            for copy in copies:
                end(copy)
    for copy, (_, error) in zip(copies, texts):
        if copy.returncode:
            return {"failed": (error.strip().splitlines() or [f"code {copy.returncode}"])[-1]}
    return json.loads(texts[0][0].strip().splitlines()[-1]) | {"others": others.cores}


def end(copy: "subprocess.Popen[str]") -> None:
    """End a command and all that it has started; nothing, if it has ended."""
    if copy.poll() is None:
        os.killpg(copy.pid, signal.SIGKILL)
        copy.communicate()


def ours(stage: int, ranks: int, shape: str, device: str) -> Said:
    line = [*SHAPES[shape].options(), "--device", device, "--stage", str(stage)]
    return output(["mpirun", "-n", str(ranks), sys.executable, str(HERE / "ours.py"), *line])


def peer(kind: str, ranks: int, shape: str) -> Said:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    what = ["on_a_gpu.py"] if kind == "torch" else ["peers.py", kind]
    command = [sys.executable, str(HERE / what[0]), *what[1:], shape]
    return output(command, ranks, MASTER_ADDR="localhost", MASTER_PORT=port)


def floor(ranks: int, shape: str, device: str) -> Said:
    return output(["mpirun", "-n", str(ranks), sys.executable, str(HERE / "floor.py"), shape, device])


class Rows:
    """What every system said, run by run, and the file that has it."""

    def __init__(self, path: Path, go_on: bool) -> None:
        self.path = path
        self.rows: list[Said] = json.loads(path.read_text()) if go_on and path.exists() else []

    def find(self, **where: Any) -> Iterator[Said]:
        return (row for row in self.rows if where.items() <= row.items())

    def add(self, row: Said) -> Said:
        self.rows.append(row)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.rows, indent=1))
        part.replace(self.path)
        return row


def systems(rivals: Rivals) -> list[str]:
    """In the order in which they run: a stage, and then what it is compared with."""
    found = ["floor"]
    for stage in range(4):
        found += [f"stage {stage}", *(kind for kind in rivals[stage] if kind not in found)]
    return found


def measure(name: str, ranks: int, shape: str, device: str) -> Said:
    if name == "floor":
        return floor(ranks, shape, device)
    if name.startswith("stage"):
        return ours(int(name[-1]), ranks, shape, device)
    return peer(name, ranks, shape)


def rounds(rows: Rows, o: argparse.Namespace, ranks: int, shape: str, names: list[str]) -> list[Said]:
    """The rounds that count, those in which others disturbed least: name -> what it said, in each."""
    found: list[Said] = []
    for number in range(o.rounds + o.repeat):
        if sum(calm(said) for said in found) == o.rounds or (number >= o.rounds and all(map(calm, found))):
            break
        said = {}
        for name in names:
            where = {"shape": shape, "ranks": ranks, "round": number, "system": name}
            failed = [row for row in rows.find(shape=shape, ranks=ranks, system=name) if "failed" in row]
            there = [*rows.find(**where), *failed]  # what has failed once is not tried again
            said[name] = there[0] if there else rows.add(where | measure(name, ranks, shape, o.device))
        found.append(said)
        print("." if calm(said) else "~", end="", file=sys.stderr, flush=True)
    return sorted(found, key=disturbed)[: o.rounds]


def disturbed(said: Said) -> float:
    """Cores that others kept busy while a round ran, at its worst run."""
    return max((row.get("others") or 0 for row in said.values()), default=0)


def calm(said: Said) -> bool:
    return disturbed(said) <= QUIET


def median(found: list[Said], name: str, what: str) -> float:
    return statistics.median(said[name].get(what) or 0 for said in found)


def table(found: list[Said], all_rivals: Rivals) -> str:
    """A line per system: ms and MiB, over the floor, over its products alone, and over the faster rival."""
    lines = []
    for name in found[0]:
        if failed := [said[name]["failed"] for said in found if "failed" in said[name]]:
            lines.append([f"{name} (failed: {failed[0][:60]})"])
            continue
        line = [name, median(found, name, "ms"), median(found, name, "mib") or None]
        if "failed" in found[0]["floor"]:
            line += [None, None]
        else:
            for what in ("ms", "products"):
                line.append(statistics.median(said[name]["ms"] / said["floor"][what] for said in found))
        rivals = all_rivals[int(name[-1])] if name.startswith("stage") else ()
        rivals = tuple(kind for kind in rivals if "failed" not in found[0][kind])
        ratios = [said[name]["ms"] / min(said[k]["ms"] for k in rivals) for said in found] if rivals else []
        ratio = statistics.median(ratios) if ratios else None
        lines.append([*line, ratio, " or ".join(rivals), median(found, name, "others")])
    heads = ["", "ms per step", "MiB", "over floor", "over products", "over rival", "the faster of", "others"]
    return tabulate(lines, heads, floatfmt=("", ".2f", ".0f", ".2f", ".2f", ".2f", "", ".2f"))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--repeat", type=int, default=3, help="disturbed rounds that may be repeated (default 3)")
    p.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    p.add_argument("--ranks", help="(default 1,2,4; on a GPU 1)")
    p.add_argument("--shapes", help=f"of {', '.join(SHAPES)} (default W1,W2,GPT; on a GPU G1)")
    p.add_argument("--json", default="bench.json", metavar="FILE")
    p.add_argument("--go-on", action="store_true", help="with the runs that FILE has")
    o = p.parse_args()
    if o.device == "gpu" and o.ranks not in (None, "1"):
        p.error("--device gpu compares one rank with plain PyTorch on one GPU")
    rivals, shapes, numbers = {"cpu": (RIVALS, "W1,W2,GPT", "1,2,4"), "gpu": (ON_A_GPU, "G1", "1")}[o.device]
    if not importlib.util.find_spec("torch"):
        rivals = dict.fromkeys(rivals, ())
    rows = Rows(Path(o.json), o.go_on)
    for shape in (o.shapes or shapes).split(","):
        for ranks in map(int, (o.ranks or numbers).split(",")):
            found = rounds(rows, o, ranks, shape, systems(rivals))
            print(f"\n{shape}: {SHAPES[shape]}, {SHAPES[shape].steps} steps, {ranks} ranks")
            print(table(found, rivals), flush=True)


if __name__ == "__main__":
    main()
