"""Step time and memory of every stage beside PyTorch's: python benchmarks/bench.py [--device gpu] [--help]

In each round every system runs once, one after another, so what disturbs the machine disturbs all of
them; ratios are taken within a round, and the median over the rounds is shown. PyTorch takes part where
it is installed (requirements-bench.txt). Writes bench.json beside the table. On a GPU one rank runs
beside plain PyTorch, both in float32 without TF32; MiB are those of their pools of device memory.
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
    "G1": ([4096] * 9, 4096, 20),  # for a GPU
}
RIVALS = {0: ("ddp", "ddp-zero1"), 1: ("ddp", "ddp-zero1"), 2: ("fsdp2-keep",), 3: ("fsdp2",)}
ON_A_GPU = dict.fromkeys(range(4), ("torch",))

Rivals = dict[int, tuple[str, ...]]  # stage: what it is compared with


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


def ours(stage: int, ranks: int, shape: str, device: str) -> dict[str, float]:
    widths, batch, steps = SHAPES[shape]
    data = ["--data", "synthetic", "--samples", str(4 * batch), "--test-fraction", "0"]
    model = ["--features", str(widths[0]), "--classes", str(widths[-1]), "--batch-size", str(batch)]
    model += ["--device", device]
    hidden = ["--hidden", ",".join(map(str, widths[1:-1])), "--steps", str(steps), "--stage", str(stage)]
    return output(["mpirun", "-n", str(ranks), sys.executable, str(HERE / "ours.py"), *data, *model, *hidden])


def peer(kind: str, ranks: int, shape: str) -> dict[str, float]:
    widths, batch, steps = SHAPES[shape]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    what = [str(HERE / "on_a_gpu.py")] if kind == "torch" else [str(HERE / "peers.py"), kind]
    command = [sys.executable, *what, ",".join(map(str, widths)), str(batch), str(steps)]
    return output(command, ranks, MASTER_ADDR="localhost", MASTER_PORT=port)


def floor(ranks: int, shape: str, device: str) -> dict[str, float]:
    widths, batch, _ = SHAPES[shape]
    command = ["mpirun", "-n", str(ranks), sys.executable, str(HERE / "floor.py")]
    return output([*command, ",".join(map(str, widths)), str(batch), device])


def rounds(
    number: int, ranks: int, shape: str, rivals: Rivals, device: str
) -> list[dict[str, dict[str, float]]]:
    """What each system said, round by round."""
    found = []
    for _ in range(number):
        said = {"floor": floor(ranks, shape, device)}
        for stage in range(4):
            said[f"stage {stage}"] = ours(stage, ranks, shape, device)
            for kind in [kind for kind in rivals[stage] if kind not in said]:
                said[kind] = peer(kind, ranks, shape)
        found.append(said)
        print(".", end="", file=sys.stderr, flush=True)
    return found


def median(found: list[dict[str, dict[str, float]]], name: str, what: str = "ms") -> float:
    return statistics.median(said[name][what] for said in found)


def table(found: list[dict[str, dict[str, float]]], all_rivals: Rivals) -> str:
    """A line per system: ms and MiB, over the floor, over its products alone, and over the faster rival."""
    lines = []
    for name in found[0]:
        line = [name, median(found, name), found[0][name].get("mib") and median(found, name, "mib")]
        for what in ("ms", "products"):
            line.append(statistics.median(said[name]["ms"] / said["floor"][what] for said in found))
        there = all_rivals[int(name[-1])] if name.startswith("stage") else ()
        ratios = [said[name]["ms"] / min(said[k]["ms"] for k in there) for said in found] if there else []
        lines.append([*line, statistics.median(ratios) if ratios else None, " or ".join(there)])
    heads = ["", "ms per step", "MiB", "over floor", "over products", "over rival", "the faster of"]
    return tabulate(lines, heads, floatfmt=("", ".2f", ".0f", ".2f", ".2f", ".2f"))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    p.add_argument("--ranks", help="(default 1,2,4; on a GPU 1)")
    p.add_argument("--shapes", help=f"of {', '.join(SHAPES)} (default W1,W2; on a GPU G1)")
    p.add_argument("--json", default="bench.json", metavar="FILE")
    o = p.parse_args()
    if o.device == "gpu" and o.ranks not in (None, "1"):
        p.error("--device gpu compares one rank with plain PyTorch on one GPU")
    rivals, shapes, numbers = {"cpu": (RIVALS, "W1,W2", "1,2,4"), "gpu": (ON_A_GPU, "G1", "1")}[o.device]
    if not importlib.util.find_spec("torch"):
        rivals = dict.fromkeys(rivals, ())
    results = {}
    for shape in (o.shapes or shapes).split(","):
        for ranks in map(int, (o.ranks or numbers).split(",")):
            found = rounds(o.rounds, ranks, shape, rivals, o.device)
            results[f"{shape}, {ranks} ranks"] = found
            widths, batch, steps = SHAPES[shape]
            print(f"\n{shape}: {'-'.join(map(str, widths))}, batch {batch}, {steps} steps, {ranks} ranks")
            print(table(found, rivals), flush=True)
            Path(o.json).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
