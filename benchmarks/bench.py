"""Step time and memory of every stage beside PyTorch's: python benchmarks/bench.py [--help]

In each round every system runs once, one after another, so what disturbs the machine disturbs all of
them; ratios are taken within a round, and the median over the rounds is shown. PyTorch takes part where
it is installed (requirements-bench.txt). Writes bench.json beside the table.
"""

import argparse
import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
from pathlib import Path

from tabulate import tabulate

HERE = Path(__file__).parent
LIMIT = 300  # seconds for one run
SHAPES = {  # widths, batch of all ranks together, steps
    "W1": ([784, 1024, 1024, 10], 256, 60),
    "W2": ([2048] * 9, 64, 8),
    "digits": ([64, 128, 64, 10], 64, 600),
}
PEERS = ("ddp", "ddp-zero1", "fsdp2-keep", "fsdp2")
RIVALS = {0: ("ddp", "ddp-zero1"), 1: ("ddp", "ddp-zero1"), 2: ("fsdp2-keep",), 3: ("fsdp2",)}


def output(command: list[str], count: int = 1, **environment: str) -> dict[str, float]:
    """The JSON that a command prints; `count` copies of it at once get their RANK."""
    copies = []
    for rank in range(count):
        own = {**os.environ, **environment, "RANK": str(rank), "WORLD_SIZE": str(count)}
        copies.append(subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True))
    try:
        texts = [copy.communicate(timeout=LIMIT)[0] for copy in copies]
    except subprocess.TimeoutExpired:
        texts = []
    for copy in copies:
        copy.kill()
    if not texts or any(copy.wait() for copy in copies):
        sys.exit(f"{' '.join(command)} failed, or took more than {LIMIT} s")
    return json.loads(texts[0].strip().splitlines()[-1])


def ours(stage: int, ranks: int, shape: str) -> dict[str, float]:
    widths, batch, steps = SHAPES[shape]
    data = ["--data", "synthetic", "--samples", str(4 * batch), "--test-fraction", "0"]
    model = ["--features", str(widths[0]), "--classes", str(widths[-1]), "--batch-size", str(batch)]
    hidden = ["--hidden", ",".join(map(str, widths[1:-1])), "--steps", str(steps), "--stage", str(stage)]
    return output(["mpirun", "-n", str(ranks), sys.executable, str(HERE / "ours.py"), *data, *model, *hidden])


def peer(kind: str, ranks: int, shape: str) -> dict[str, float]:
    widths, batch, steps = SHAPES[shape]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    command = [
        sys.executable,
        str(HERE / "peers.py"),
        kind,
        ",".join(map(str, widths)),
        str(batch),
        str(steps),
    ]
    return output(command, ranks, MASTER_ADDR="localhost", MASTER_PORT=port)


def floor(ranks: int, shape: str) -> dict[str, float]:
    widths, batch, _ = SHAPES[shape]
    command = ["mpirun", "-n", str(ranks), sys.executable, str(HERE / "floor.py")]
    return output([*command, ",".join(map(str, widths)), str(batch)])


def rounds(number: int, ranks: int, shape: str, peers: tuple[str, ...]) -> list[dict[str, dict[str, float]]]:
    """What each system said, round by round."""
    found = []
    for _ in range(number):
        said = {"floor": floor(ranks, shape)}
        for stage in range(4):
            said[f"stage {stage}"] = ours(stage, ranks, shape)
            for kind in [k for k in peers if k in RIVALS[stage] and k not in said]:
                said[kind] = peer(kind, ranks, shape)
        found.append(said)
        print(".", end="", file=sys.stderr, flush=True)
    return found


def median(found: list[dict[str, dict[str, float]]], name: str, what: str = "ms") -> float:
    return statistics.median(said[name][what] for said in found)


def table(found: list[dict[str, dict[str, float]]]) -> str:
    """A line per system: ms and MiB, over the floor, and over the faster rival."""
    lines = []
    for name in found[0]:
        line = [name, median(found, name), found[0][name].get("mib") and median(found, name, "mib")]
        line.append(statistics.median(said[name]["ms"] / said["floor"]["ms"] for said in found))
        rivals = RIVALS[int(name[-1])] if name.startswith("stage") else ()
        there = [kind for kind in rivals if kind in found[0]]
        ratios = [said[name]["ms"] / min(said[k]["ms"] for k in there) for said in found] if there else []
        lines.append([*line, statistics.median(ratios) if ratios else None, " or ".join(there)])
    heads = ["", "ms per step", "MiB", "over floor", "over rival", "the faster of"]
    return tabulate(lines, heads, floatfmt=("", ".2f", ".0f", ".2f", ".2f"))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--ranks", default="1,2,4")
    p.add_argument("--shapes", default="W1,W2", help=f"of {', '.join(SHAPES)}")
    p.add_argument("--json", default="bench.json", metavar="FILE")
    o = p.parse_args()
    peers = PEERS if importlib.util.find_spec("torch") else ()
    results = {}
    for shape in o.shapes.split(","):
        for ranks in map(int, o.ranks.split(",")):
            found = rounds(o.rounds, ranks, shape, peers)
            results[f"{shape}, {ranks} ranks"] = found
            widths, batch, steps = SHAPES[shape]
            print(f"\n{shape}: {'-'.join(map(str, widths))}, batch {batch}, {steps} steps, {ranks} ranks")
            print(table(found), flush=True)
            Path(o.json).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
