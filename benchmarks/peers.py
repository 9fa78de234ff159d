"""One run of PyTorch for bench.py: `python benchmarks/peers.py KIND SHAPE`, a process per rank.

KIND: ddp, ddp-zero1 (with ZeroRedundancyOptimizer), fsdp2-keep (parameters stay gathered between forward
and backward pass: stage 2), fsdp2 (they do not: stage 3). Ranks find each other by RANK, WORLD_SIZE,
MASTER_ADDR and MASTER_PORT. Prints what ours.py prints.
"""

import json
import os
import statistics
import sys
import time
from itertools import pairwise

import torch
import torch.distributed as dist
from memory import peak
from shapes import SHAPES, Gpt, Mlp
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel
from torch_gpt import TorchGpt


def network(shape: Mlp | Gpt) -> tuple[nn.Module, list[nn.Module]]:
    """A model, and the parts of it that FSDP shards one by one, as zero_ref its units."""
    if isinstance(shape, Gpt):
        gpt = TorchGpt(shape.symbols, shape.context, shape.layers, shape.width, shape.heads)
        return gpt, list(gpt.h)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(shape.widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    return net, [layer for layer in net if isinstance(layer, nn.Linear)]


def samples(shape: Mlp | Gpt, number: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """So many random samples and their targets."""
    random = torch.Generator().manual_seed(seed)
    if isinstance(shape, Gpt):
        x, y = torch.randint(0, shape.symbols, (2, number, shape.context), generator=random)
        return x, y
    y = torch.randint(0, shape.widths[-1], (number,), generator=random)
    return torch.randn(number, shape.widths[0], generator=random), y


def main(kind: str, shape: Mlp | Gpt) -> None:
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // size))
    before = peak()
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    net, parts = network(shape)
    if kind.startswith("ddp"):
        model = DistributedDataParallel(net, gradient_as_bucket_view=True)
    else:
        mesh = dist.init_device_mesh("cpu", (size,))
        for part in parts:
            fully_shard(part, mesh=mesh, reshard_after_forward=kind == "fsdp2")
        model = fully_shard(net, mesh=mesh, reshard_after_forward=kind == "fsdp2")
    if kind == "ddp-zero1":
        optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.Adam, lr=1e-3)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = samples(shape, shape.batch // size, rank)
    seconds, loss = [], None
    for _ in range(shape.steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x).flatten(0, -2), y.flatten())
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
    main(sys.argv[1], SHAPES[sys.argv[2]])
