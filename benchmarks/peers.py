"""One run of PyTorch for bench.py: `python benchmarks/peers.py KIND WIDTHS BATCH STEPS`, a process per rank.

KIND: ddp, ddp-zero1 (with ZeroRedundancyOptimizer), fsdp2-keep (parameters stay gathered between forward
and backward pass: stage 2), fsdp2 (they do not: stage 3). Ranks find each other by RANK, WORLD_SIZE,
MASTER_ADDR and MASTER_PORT. Prints what ours.py prints.
"""

import json
import os
import statistics
import sys
import time

import torch
import torch.distributed as dist
from memory import peak
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel


def main(kind: str, widths: list[int], batch: int, steps: int) -> None:
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // size))
    before = peak()
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in zip(widths, widths[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    if kind.startswith("ddp"):
        model = DistributedDataParallel(net, gradient_as_bucket_view=True)
    else:
        mesh = dist.init_device_mesh("cpu", (size,))
        for layer in net:
            if isinstance(layer, nn.Linear):
                fully_shard(layer, mesh=mesh, reshard_after_forward=kind == "fsdp2")
        model = fully_shard(net, mesh=mesh, reshard_after_forward=kind == "fsdp2")
    if kind == "ddp-zero1":
        optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.Adam, lr=1e-3)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    random = torch.Generator().manual_seed(rank)
    x = torch.randn(batch // size, widths[0], generator=random)
    y = torch.randint(0, widths[-1], (batch // size,), generator=random)
    seconds, loss = [], None
    for _ in range(steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        loss = loss.detach()
        total = loss.clone()
        dist.all_reduce(total)
        seconds.append(time.perf_counter() - start)
    most = torch.tensor([(peak() - before) / 1024])
    dist.all_reduce(most, dist.ReduceOp.MAX)
    if rank == 0:
        print(json.dumps({"ms": 1e3 * statistics.median(seconds), "mib": most.item()}))
    dist.barrier()
    sys.stdout.flush()
    os._exit(0)  # the orderly end of a group can hang where its ranks leave at different moments


if __name__ == "__main__":
    main(sys.argv[1], [int(w) for w in sys.argv[2].split(",")], int(sys.argv[3]), int(sys.argv[4]))
