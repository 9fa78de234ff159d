"""One run of PyTorch on one GPU for bench.py: `python benchmarks/on_a_gpu.py SHAPE`.

Adam in its fused form, float32 without TF32. Prints what ours.py prints; MiB are what its pool has taken.
"""

import json
import statistics
import sys
import time

import torch
from peers import network, samples
from shapes import SHAPES, Gpt, Mlp
from torch import nn


def main(shape: Mlp | Gpt) -> None:
    torch.set_float32_matmul_precision("highest")  # no TF32, as CuPy's default
    torch.manual_seed(0)
    net = network(shape)[0].cuda()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    x, y = (each.cuda() for each in samples(shape, shape.batch, 0))
    seconds = []
    for _ in range(shape.steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x).flatten(0, -2), y.flatten())
        loss.backward()
        optimizer.step()
        loss.item()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"ms": 1e3 * statistics.median(seconds), "mib": torch.cuda.memory_reserved() / 2**20}))


if __name__ == "__main__":
    main(SHAPES[sys.argv[1]])
