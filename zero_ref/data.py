"""Data sets, the batch of every step, and which rank computes which of its samples.

The batch of a step depends on the seed, the epoch and the step alone; the rule only deals its
samples to the ranks. So the training run is the same for every rule and every number of ranks.

Rules (`--shard-data`):
    contiguous   slices of the batch
    random       slices of the batch, shuffled anew for each
    hash         sample i belongs to hash(i) mod N for ever: a rank stores its own samples only
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from zero_ref.array import Array, track, xp
from zero_ref.launch import UsageError
from zero_ref.launch.singular import number_of
from zero_ref.layout import bounds, hash_owner

RULES = ("contiguous", "random", "hash")


@dataclass
class Task:
    """What a model has to know of a data set.

    features: numbers per sample; outputs: numbers that a model gives for one; classes: how many, 0
    where y holds numbers. columns: the names of the features, and then the target's, if they have any: one
    or several, numbers or one-hot labels. alphabet: of a text, whose features are the tokens of a window,
    and whose classes are its characters and one for all others (see datasets/texts.py).
    """

    features: int
    outputs: int
    classes: int
    columns: list[str] | None = None
    alphabet: str | None = None


@dataclass
class DataSet:
    """x (samples, features) and y: labels (samples,) int64, or numbers (samples, targets).

    classes: how many, or 0 where y holds numbers. columns, alphabet: as in a Task. The ids of the samples
    are their places. Of a text y is (samples, features) like x, the `held_out` last samples are not to
    train on, and `unigram` is a loss to compare with (see datasets/texts.py).
    """

    x: np.ndarray
    y: np.ndarray
    classes: int
    columns: list[str] | None = None
    alphabet: str | None = None
    held_out: int | None = None
    unigram: float | None = None

    @property
    def task(self) -> Task:
        """Its shape, without its samples."""
        outputs = self.classes or self.y.shape[1]
        return Task(self.x.shape[1], outputs, self.classes, self.columns, self.alphabet)

    def sha256(self) -> str:
        """The SHA-256 of shapes and values: a resumed run must find what it was trained on."""
        digest = hashlib.sha256()
        for values in (self.x, self.y):
            digest.update(f"{values.dtype} {values.shape} ".encode())
            digest.update(np.ascontiguousarray(values).view(np.uint8).data)
        return digest.hexdigest()


def variance(y: np.ndarray) -> float:
    """The mean squared deviation of targets (samples, targets) from their means, what r2 compares with.

    Just 0 if they are constant, which the rounding of a mean would hide.
    """
    return 0.0 if (y == y[:1]).all() else float(((y - y.mean(axis=0)) ** 2).mean())


def split(
    samples: int, test_fraction: float, seed: int, held_out: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the training and of the test samples, sorted, chosen by seed alone; or the last `held_out`.

    UsageError if none is left to train on.
    """
    if held_out is not None:
        return np.arange(samples - held_out), np.arange(samples - held_out, samples)
    order = np.random.default_rng([seed, 0]).permutation(samples)
    test = round(samples * test_fraction)
    if test == samples:
        raise UsageError(
            f"--test-fraction {test_fraction} leaves none of {number_of(samples, 'samples')} to train on"
        )
    return np.sort(order[test:]), np.sort(order[:test])


class Batches:
    """Samples as one rank sees them: for each step, its part of each micro-batch.

    ids: the samples, sorted. shares: one whole number a rank, samples are dealt in proportion.
    stored: the ids of the samples that this rank keeps; x and y are theirs, where all arrays live.
    """

    def __init__(
        self,
        data: DataSet,
        ids: np.ndarray,
        batch_size: int,
        micro_batches: int = 1,
        rule: str = "contiguous",
        seed: int = 0,
        shuffle: bool = True,
        *,
        rank: int,
        shares: Sequence[int],
    ) -> None:
        self.ids, self.rank, self.shares, self.rule = ids, rank, shares, rule
        self.batch_size, self.micro_batches = batch_size, micro_batches
        self.seed, self.shuffle = seed, shuffle
        self.order, self.shuffled_for = ids, -1
        self.steps_per_epoch = -(-len(ids) // batch_size)
        self.stored = ids
        if rule == "hash":
            self.owner = np.array([hash_owner(seed, "sample", int(i), shares) for i in ids], int)
            self.stored = ids[self.owner == rank]
        self.x, self.y = xp.asarray(data.x[self.stored]), xp.asarray(data.y[self.stored])

    def global_batch(self, epoch: int, step: int) -> np.ndarray:
        """The ids of the samples of one step, on all ranks together, (batch_size,) or fewer at the end."""
        if self.shuffle and self.shuffled_for != epoch:
            self.order = np.random.default_rng([self.seed, 1, epoch]).permutation(self.ids)
            self.shuffled_for = epoch
        return self.order[step * self.batch_size : (step + 1) * self.batch_size]

    def parts(self, epoch: int, step: int) -> list[np.ndarray]:
        """The ids that this rank computes in each micro-batch of a step; a part may be empty."""
        batch = self.global_batch(epoch, step)
        cuts = bounds(len(batch), [1] * self.micro_batches)
        return [self._mine(batch[a:b], epoch, step, k) for k, (a, b) in enumerate(zip(cuts, cuts[1:]))]

    def arrays(self, parts: list[np.ndarray]) -> Iterator[tuple[Array, Array]]:
        """x (samples, features) and y of each part, one part at a time."""
        for part in parts:
            yield tuple(
                track("activation", values[xp.asarray(np.searchsorted(self.stored, part))])
                for values in (self.x, self.y)
            )

    def _mine(self, ids: np.ndarray, epoch: int, step: int, micro_batch: int) -> np.ndarray:
        if self.rule == "hash":
            return ids[self.owner[np.searchsorted(self.ids, ids)] == self.rank]
        if self.rule == "random":
            ids = np.random.default_rng([self.seed, 2, epoch, step, micro_batch]).permutation(ids)
        ends = bounds(len(ids), self.shares)
        return ids[ends[self.rank] : ends[self.rank + 1]]
