"""One run of PyTorch on one GPU for bench.py: `python benchmarks/on_a_gpu.py WIDTHS BATCH STEPS`.

Adam in its fused form, float32 without TF32. Prints what ours.py prints; MiB are what its pool has taken.
"""

import json
import statistics
import sys
import time

import torch
from torch import nn


def main(widths: list[int], batch: int, steps: int) -> None:
    torch.set_float32_matmul_precision("highest")  # no TF32, as CuPy's default
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in zip(widths, widths[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    net = nn.Sequential(*layers[:-1]).cuda()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    x = torch.randn(batch, widths[0], device="cuda")
    y = torch.randint(0, widths[-1], (batch,), device="cuda")
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        loss.item()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"ms": 1e3 * statistics.median(seconds), "mib": torch.cuda.memory_reserved() / 2**20}))


if __name__ == "__main__":
    main([int(width) for width in sys.argv[1].split(",")], int(sys.argv[2]), int(sys.argv[3]))
