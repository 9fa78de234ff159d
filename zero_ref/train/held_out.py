"""Samples that no step has seen: what a model makes of them, during the run and at its end."""

import argparse
import math
from typing import Any

import numpy as np

from zero_ref import array, model
from zero_ref.checkpoint import Manifest, best, saving
from zero_ref.data import Batches, variance
from zero_ref.launch import UsageError
from zero_ref.launch.together import agree
from zero_ref.ledger import ledger
from zero_ref.train.choose import Run


class Looks:
    """What --eval-every finds. rows: step, loss, accuracy or r2; best: loss and step, also of a run before.

    UsageError on all ranks if nothing is held out.
    """

    def __init__(self, o: argparse.Namespace, run: Run, held_out: Batches, manifest: Manifest) -> None:
        self.o, self.run, self.held_out, self.manifest = o, run, held_out, manifest
        self.rows: list[list[Any]] = []
        self.best: best.Found | None = None
        if o.eval_every and not len(held_out.ids):
            raise UsageError(f"--eval-every: --test-fraction {o.test_fraction} holds no samples out")
        if o.eval_every and o.save:
            whole = saving.describe(manifest, 0, run, [])
            ours = agree(run.world, lambda: best.find(o.save, whole) if run.world.rank == 0 else None)
            self.best = next((tuple(found) for found in run.world.everyone(ours) if found), None)

    def look(self, step: int) -> None:
        """Test on all ranks, and keep the best. The ledger counts none of it: it is no part of a step."""
        with ledger.set_aside():
            found = evaluate(self.run, self.held_out)
        assert found is not None
        self.rows.append([step, *found.values()])
        loss = found["loss"]
        if loss is not None and loss < (self.best or [math.inf])[0]:  # not if it is no number
            self.best = loss, step
            if self.o.save:
                best.keep(self.o.save, self.manifest, loss, step, self.run)


def evaluate(run: Run, held_out: Batches) -> dict[str, float | None] | None:
    """Loss, and accuracy or r2, on the held-out samples, shared out over the ranks; None without any.

    r2 is 1 - (squared errors) / (squared deviations from the mean), over all targets together.
    """
    samples, classes, world = len(held_out.ids), run.task.classes > 0, run.world
    if not samples:
        return None
    tokens = math.prod(held_out.y.shape[1:]) if classes else 1  # of a sample that is a window of text
    loss_grad = model.loss_grad(classes, samples)
    loss = right = 0.0
    for step in range(held_out.steps_per_epoch):
        for x, y in held_out.arrays(held_out.parts(0, step)):
            for u in run.units:
                x = u.forward(run.stage.full_param(u, run.comm), x)
                u.forget()
            loss += loss_grad(x, y)[1]
            right += float((x.argmax(axis=-1) == y).sum()) if classes else 0.0
    loss = world.sum(loss)
    if classes:
        return {"loss": loss, "accuracy": world.sum(right) / (samples * tokens)}
    targets = array.to_numpy(held_out.y).astype(np.float64)
    deviations = variance(targets)
    return {"loss": loss, "r2": 1 - loss / deviations if deviations else None}
