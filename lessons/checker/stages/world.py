"""A trial of exercises 08, 11, 12 and 13: units, samples, optimizers; and all its ranks in one process.

World makes the steps of all ranks at once, rightly or with one mistake. It shares the layers and the
optimizers with zero_ref, and nothing of the stages.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from zero_ref import model, optim
from zero_ref.clip import sum_of_squares
from zero_ref.layout import FlatLayout

WIDTHS = (4, 10, 13, 1)  # units of 50, 143 and 14 parameters: neither 3 nor 4 divides any of them
OPTIMIZERS = {
    "SGD": partial(optim.SGD, lr=0.05, momentum=0.9),
    "Adam": partial(optim.Adam, lr=0.01),
    "AdamW": partial(optim.AdamW, lr=0.01, weight_decay=0.01),
}

FACTORS = {
    "over ranks": lambda case: 1 / case["size"],
    "over micro-batches": lambda case: 1 / case["micro_batches"],
    "times ranks": lambda case: case["size"],
}
Vectors = list[np.ndarray]  # one a unit


def units_of(case: dict[str, Any], widths: Sequence[int] = WIDTHS) -> list[model.Unit]:
    """The units of a trial, with float64 parameters in equal shards."""
    return model.build(widths, partial(FlatLayout, size=case["size"]), "float64", case["numbers"]["seed"])


def optimizer_of(case: dict[str, Any], n: int) -> Any:
    """An optimizer for n elements."""
    return OPTIMIZERS[case["optimizer"]](n, "float64")


def batches_of(case: dict[str, Any], step: int) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Rank -> its micro-batches x (samples, 4), y (samples, 1) of a step."""
    counts = np.array(case["numbers"]["counts"])  # (micro-batches, ranks)
    random = np.random.default_rng([case["numbers"]["seed"], step])
    x = random.normal(size=(counts.sum(), WIDTHS[0]))
    y = np.sin(x.sum(1, keepdims=True)) + x[:, :1]
    cuts = np.cumsum(counts.reshape(-1))[:-1]
    pairs = list(zip(np.split(x, cuts), np.split(y, cuts)))
    return [pairs[rank :: case["size"]] for rank in range(case["size"])]


def loss_grad_of(case: dict[str, Any]) -> model.LossGrad:
    """(outputs, y) -> (dL/d outputs, this part of L), L the mean over the samples of all ranks."""
    return model.loss_grad(False, int(np.sum(case["numbers"]["counts"])))


@dataclass(frozen=True)
class Mistake:
    """What a World does wrongly; without arguments, nothing.

    total: what a rank updates by. "right"; "own", its own gradient; "last", of the last micro-batch;
        "again", sums that hold earlier micro-batches already; or one of FACTORS times the right one
    carry: what is left of a step's gradient in the next
    norm: of the "total"; "ranks", of the total once a rank; "parts", of the ranks' own gradients, a shard
        each; "whole_parts", the whole of each; "first", of every rank's shard 0; "params"; "units", a norm
        for each unit; or "scale", norm and scale each in the other's place
    power: of the scale that the optimizer is given
    seen: the parameters that the passes use. "now"; "start", of the first step; "before", of the last
        step; or "backward", of the first step in the backward pass
    gather: "right"; "never"; "early", before the update; "mean", of all ranks' whole ones;
        or "lost", the update is
    param, grad: whose shard is updated, by whose: "own", "first", the first one, or "next", the next rank's
    back: what a unit's backward pass is given. "right", what the next unit's has returned; or "loss", what
        loss_grad has
    """

    total: str = "right"
    carry: bool = False
    norm: str = "total"
    power: int = 1
    seen: str = "now"
    gather: str = "right"
    param: str = "own"
    grad: str = "own"
    back: str = "right"


class World:
    """All ranks of a trial of one stage, in one process, rightly or with one mistake."""

    def __init__(self, case: dict[str, Any], stage: int, mistake: Mistake | None = None) -> None:
        self.case, self.stage, self.size = case, stage, case["size"]
        self.mistake = mistake or Mistake()
        self.units = units_of(case)
        start = [u.initial("parameter") for u in self.units]
        self.params: list[Vectors] = [copy.deepcopy(start) for _ in range(self.size)]
        self.start, self.before = start, copy.deepcopy(self.params)
        self.left: list[Vectors] = [[np.zeros_like(p) for p in start] for _ in range(self.size)]
        self.optimizers = [
            [optimizer_of(case, u.layout.padded) for u in self.units] for _ in range(self.size)
        ]

    def run(self) -> list[list[tuple]]:
        """Step, rank -> (norm, parameters of each unit, losses of each micro-batch), as that rank has them.

        norm: None where the mistake leaves it open.
        """
        return [self.step(number) for number in range(len(self.case["numbers"]["clips"]))]

    def step(self, number: int) -> list[tuple]:
        parts, losses = self.gradients(number)
        totals = [self.totals(parts, rank) for rank in range(self.size)]
        norms = self.norms(totals, [[sum(of_unit) for of_unit in of_rank] for of_rank in parts])
        updated = [self.updated(rank, totals[rank], norms, number) for rank in range(self.size)]
        self.left = totals if self.mistake.carry else self.left
        before, self.before = self.params, copy.deepcopy(self.params)
        self.params = [self.gathered(rank, before, updated) for rank in range(self.size)]
        returned = None if self.mistake.norm == "units" or self.mistake.gather == "mean" else norms[0]
        returned = self.scale(norms[0], number) if self.mistake.norm == "scale" else returned
        return [(returned, tuple(self.own_params(rank)), losses[rank]) for rank in range(self.size)]

    def gradients(self, number: int) -> tuple[list[list[Vectors]], list[list[float]]]:
        """Rank, unit, micro-batch -> gradient; rank, micro-batch -> loss."""
        loss_grad, batches = loss_grad_of(self.case), batches_of(self.case, number)
        found: list[list[Vectors]] = []
        losses: list[list[float]] = [[] for _ in range(self.size)]
        for rank in range(self.size):
            forward = {"start": self.start, "before": self.before[rank]}.get(
                self.mistake.seen, self.params[rank]
            )
            backward = self.start if self.mistake.seen == "backward" else forward
            of_rank: list[Vectors] = [[] for _ in self.units]
            for x, y in batches[rank]:
                for u, param in zip(self.units, forward):
                    x = u.forward(param, x)
                g, loss = first, _ = loss_grad(x, y)
                losses[rank].append(float(loss))
                for i in reversed(range(len(self.units))):
                    given = first if self.mistake.back == "loss" else g
                    g, grad = self.units[i].backward(backward[i], given)
                    of_rank[i].append(grad)
            found.append(of_rank)
        return found, losses

    def totals(self, parts: list[list[Vectors]], rank: int) -> Vectors:
        """What a rank updates by, whole."""
        found = []
        for i, u in enumerate(self.units):
            sums = [ring_sum(vectors, u.layout) for vectors in zip(*(of_rank[i] for of_rank in parts))]
            if self.stage < 2:
                total = ring_sum([sum(of_rank[i]) for of_rank in parts], u.layout)
            else:
                total = sum(sums)
            if self.mistake.total == "own":
                total = sum(parts[rank][i])
            elif self.mistake.total == "last":
                total = sums[-1]
            elif (
                self.mistake.total == "again"
            ):  # stage 0: what all ranks have is summed again; stage 1: so is the own
                times = self.size if self.stage == 0 else 2
                total = sums[0] if len(sums) == 1 else times * sums[0] + sums[1]
            elif self.mistake.total in FACTORS:
                total = FACTORS[self.mistake.total](self.case) * total
            left = self.left[rank][i]  # at stage 0 every rank has the whole sum, and all are added up
            found.append(total + (self.size if self.stage == 0 else 1) * left)
        return found

    def norms(self, totals: list[Vectors], own: list[Vectors]) -> list[float]:
        """The norm for each unit; all are one, except with "units"."""
        vectors = {"parts": own, "whole_parts": own, "params": self.params}.get(self.mistake.norm, totals)
        whole = self.mistake.norm in ("ranks", "whole_parts")
        squares = []  # rank, unit
        for rank, of_rank in enumerate(vectors):
            shard = 0 if self.mistake.norm == "first" else rank
            pieces = [v if whole else u.layout.shard(v, shard) for u, v in zip(self.units, of_rank)]
            squares.append([sum_of_squares(piece) for piece in pieces])
        if self.mistake.norm == "units":
            return [math.sqrt(sum(of_unit)) for of_unit in zip(*squares)]
        return [math.sqrt(sum(map(sum, squares)))] * len(self.units)

    def scale(self, norm: float, number: int) -> float:
        """What the gradients of a step are scaled by."""
        limit = self.case["numbers"]["clips"][number]
        return 1.0 if limit is None else min(1.0, limit / (norm + 1e-6))

    def updated(self, rank: int, total: Vectors, norms: list[float], number: int) -> Vectors:
        """A rank's parameters after its update, whole."""
        found = []
        for i, u in enumerate(self.units):
            scale = norms[i] if self.mistake.norm == "scale" else self.scale(norms[i], number)
            param, grad, mine = self.params[rank][i].copy(), total[i].copy(), u.layout.slice_of(rank)
            for vector, which in ((param, self.mistake.param), (grad, self.mistake.grad)):
                if which != "own":
                    other = 0 if which == "first" else (rank + 1) % self.size
                    vector[mine] = u.layout.shard(vector, other).copy()
            self.optimizers[rank][i].update(param, grad, scale**self.mistake.power)
            found.append(param)
        return found

    def gathered(self, rank: int, before: list[Vectors], updated: list[Vectors]) -> Vectors:
        """A rank's parameters when the step ends."""
        if self.mistake.gather == "mean":
            return [np.mean(vectors, 0) for vectors in zip(*updated)]
        if self.mistake.gather == "lost":
            return before[rank]
        if self.stage == 0:
            return updated[rank]
        found = []
        for i, u in enumerate(self.units):
            others = {"never": [before[rank]] * self.size, "early": before}.get(self.mistake.gather, updated)
            pieces = [u.layout.shard(others[other][i], other) for other in range(self.size)]
            pieces[rank] = u.layout.shard(updated[rank][i], rank)
            found.append(np.concatenate(pieces))
        return found

    def own_params(self, rank: int) -> Vectors:
        """What a rank has of its parameters: all, or its shard."""
        if self.stage < 3:
            return self.params[rank]
        return [u.layout.shard(p, rank) for u, p in zip(self.units, self.params[rank])]


def ring_sum(vectors: Sequence[np.ndarray], layout: FlatLayout) -> np.ndarray:
    """The sum over the ranks, added in the order of zero_ref's ring: of a shard its own rank comes last."""
    size = len(vectors)
    pieces = []
    for shard in range(size):
        part = layout.slice_of(shard)
        pieces.append(sum(vectors[(shard + hop) % size][part] for hop in range(1, size + 1)))
    return np.concatenate(pieces)
