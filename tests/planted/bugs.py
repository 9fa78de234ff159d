"""Mistakes that are easy to make when writing ZeRO or its checker, each as one replacement of text.

Files are named from zero_ref: the checker's begin with "../lessons".

run.py makes each of them in a copy of the package and shows which test finds it. A bug here changes
what is computed, held or sent; one that stops the program at once would prove nothing.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bug:
    """name: what the programmer got wrong. `old` stands `count` times in `file` and becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    count: int = 1


def plant(bug: Bug, package: Path) -> str:
    """The text of the bug's file in `package` with the bug in it; ValueError if it does not fit."""
    text = (package / bug.file).read_text()
    if text.count(bug.old) != bug.count or bug.old == bug.new:
        raise ValueError(f"{bug.name}: {bug.file} has the text {text.count(bug.old)} times, not {bug.count}")
    return text.replace(bug.old, bug.new)


ZERO0, ZERO1, ZERO2, ZERO3 = (f"stages/zero{n}.py" for n in range(4))

STAGE_0 = [
    Bug(
        "the summed gradient is divided by the number of ranks once more",
        ZERO0,
        "comm.all_reduce(u.grad, u.layout)\n",
        "comm.all_reduce(u.grad, u.layout)\n        u.grad /= comm.size\n",
    ),
    Bug(
        "the gradients are never all-reduced",
        ZERO0,
        "    for u in units:\n        comm.all_reduce(u.grad, u.layout)\n",
        "",
    ),
    Bug(
        "the running gradient is all-reduced after each micro-batch, not once",
        ZERO0,
        "        loss += part\n    for u in units:\n        comm.all_reduce(u.grad, u.layout)\n",
        "        loss += part\n        for u in units:\n            comm.all_reduce(u.grad, u.layout)\n",
    ),
    Bug(
        "a micro-batch overwrites the gradient of the one before",
        ZERO0,
        "u.grad += grad",
        "u.grad[...] = grad",
    ),
    Bug(
        "the gradient is not cleared after the step",
        ZERO0,
        "        u.grad.fill(0)\n",
        "",
    ),
    Bug(
        "the norm counts the whole gradient on every rank, N times over",
        ZERO0,
        "[comm.shard(u.grad, u.layout) for u in units]",
        "[u.grad for u in units]",
    ),
    Bug(
        "the gradient is clipped in place and by the optimizer again",
        ZERO0,
        "        u.optimizer.update(",
        "        u.grad *= scale\n        u.optimizer.update(",
    ),
]

STAGE_1 = [
    Bug(
        "a rank updates with its own gradient, not with the sum",
        ZERO1,
        "comm.reduce_scatter(u.grad, u.layout) for",
        "comm.shard(u.grad, u.layout) for",
    ),
    Bug(
        "the summed gradient is divided by the number of ranks once more",
        ZERO1,
        "update(shard, grad, scale)",
        "update(shard, grad / comm.size, scale)",
    ),
    Bug(
        "the updated shards are never gathered",
        ZERO1,
        "        comm.all_gather(shard, u.layout, out=u.param)\n",
        "",
    ),
    Bug(
        "the old shard is gathered: right where a shard is a view, wrong where it is a copy",
        ZERO1,
        "comm.all_gather(shard, u.layout",
        "comm.all_gather(comm.shard(u.param, u.layout), u.layout",
    ),
    Bug(
        "the shard is gathered before its update",
        ZERO1,
        "        u.optimizer.update(shard, grad, scale)\n"
        "        comm.all_gather(shard, u.layout, out=u.param)\n",
        "        comm.all_gather(shard, u.layout, out=u.param)\n"
        "        u.optimizer.update(shard, grad, scale)\n",
    ),
    Bug(
        "every rank updates shard 0",
        ZERO1,
        "shard = comm.shard(u.param, u.layout)",
        "shard = u.layout.shard(u.param, 0)",
    ),
    Bug(
        "the gradient is not cleared after the step",
        ZERO1,
        "        u.grad.fill(0)\n",
        "",
    ),
    Bug(
        "the gradient is clipped in the norm's report only",
        ZERO1,
        "update(shard, grad, scale)",
        "update(shard, grad, 1.0)",
    ),
]

STAGE_2 = [
    Bug(
        "only the last micro-batch counts: its shard replaces the sum",
        ZERO2,
        "u.grad += comm.reduce_scatter(",
        "u.grad[...] = comm.reduce_scatter(",
    ),
    Bug(
        "the summed gradient is divided by the number of ranks once more",
        ZERO2,
        "u.grad += comm.reduce_scatter(grad, u.layout)",
        "u.grad += comm.reduce_scatter(grad, u.layout) / comm.size",
    ),
    Bug(
        "a rank keeps its shard of its own gradient, nothing is reduced",
        ZERO2,
        "u.grad += comm.reduce_scatter(",
        "u.grad += comm.shard(",
    ),
    Bug(
        "the shard of the gradient is not cleared after the step",
        ZERO2,
        "        u.grad.fill(0)\n",
        "",
    ),
    Bug(
        "the updated shards are never gathered",
        ZERO2,
        "        comm.all_gather(shard, u.layout, out=u.param)\n",
        "",
    ),
    Bug(
        "the norm is that of the parameters' shard",
        ZERO2,
        "clip(comm, [u.grad for u in units]",
        "clip(comm, [comm.shard(u.param, u.layout) for u in units]",
    ),
]

STAGE_3 = [
    Bug(
        "the backward pass uses parameters gathered in the first step",
        ZERO3,
        "            g, grad = u.backward(comm.all_gather(u.param, u.layout), g)\n",
        "            if not hasattr(u, 'whole'):\n"
        "                u.whole = comm.all_gather(u.param, u.layout)\n"
        "            g, grad = u.backward(u.whole, g)\n",
    ),
    Bug(
        "only the last micro-batch counts: its shard replaces the sum",
        ZERO3,
        "u.grad += comm.reduce_scatter(",
        "u.grad[...] = comm.reduce_scatter(",
    ),
    Bug(
        "the shard of the gradient is not cleared after the step",
        ZERO3,
        "        u.grad.fill(0)\n",
        "",
    ),
    Bug(
        "each rank starts with shard 0",
        ZERO3,
        'comm.shard(u.initial("gathered"), u.layout).copy()',
        'u.layout.shard(u.initial("gathered"), 0).copy()',
    ),
    Bug(
        "the gradient is clipped in the norm's report only",
        ZERO3,
        "update(u.param, u.grad, scale)",
        "update(u.param, u.grad, 1.0)",
    ),
]

CLIPPING = [
    Bug(
        "the norm is that of the rank's own shard",
        "clip.py",
        "math.sqrt(comm.sum(squares))",
        "math.sqrt(squares)",
    ),
    Bug(
        "the roots of the ranks are added, not the squares",
        "clip.py",
        "math.sqrt(comm.sum(squares))",
        "comm.sum(math.sqrt(squares))",
    ),
    Bug(
        "norms of units are added, not their squares",
        "clip.py",
        "sum(sum_of_squares(shard) for shard in shards)",
        "sum(math.sqrt(sum_of_squares(shard)) for shard in shards) ** 2",
    ),
    Bug(
        "the compiled sum of squares has half as many lanes, another order than NumPy's",
        "extras/compiled.py",
        "squares_loop()(vector, lanes)",
        "squares_loop()(vector, lanes[: -(-lanes.size // 2)])",
    ),
    Bug(
        "a row that is shorter than the lanes is left out of the norm",
        "clip.py",
        "for lane in starts(part.size, LANES):",
        "for lane in starts(part.size - LANES + 1, LANES):",
    ),
    Bug(
        "a small gradient is scaled up to the largest norm: min is missing",
        "clip.py",
        "min(1.0, max_norm / (norm + 1e-6))",
        "max_norm / (norm + 1e-6)",
    ),
    Bug(
        "the coefficient is upside down",
        "clip.py",
        "max_norm / (norm + 1e-6)",
        "(norm + 1e-6) / max_norm",
    ),
]

OPTIMIZERS = [
    Bug(
        "one step count is shared by all units of the model",
        "optim.py",
        "        self.steps += 1\n        beta1",
        "        Adam.count = self.steps = getattr(Adam, 'count', 0) + 1\n        beta1",
    ),
    Bug(
        "Adam's second moment is not bias corrected",
        "optim.py",
        "root = math.sqrt(1 - beta2**self.steps)",
        "root = 1.0",
    ),
    Bug(
        "Adam's epsilon stands inside the root",
        "optim.py",
        "            xp.sqrt(v, out=g)\n            g += eps\n",
        "            xp.add(v, eps, out=g)\n            xp.sqrt(g, out=g)\n",
    ),
    Bug(
        "Adam's epsilon is bias corrected too",
        "optim.py",
        "self.eps * root",
        "self.eps",
    ),
    Bug(
        "AdamW adds its decay to the gradient, as Adam does",
        "optim.py",
        "    decoupled = True\n",
        "    decoupled = False\n",
    ),
    Bug(
        "AdamW's decay forgets the learning rate",
        "optim.py",
        "p *= 1 - self.lr * self.weight_decay",
        "p *= 1 - self.weight_decay",
    ),
    Bug(
        "SGD damps the gradient by 1 - momentum, as Adam does",
        "optim.py",
        "                v += g\n                g = v\n",
        "                g *= 1 - self.momentum\n                v += g\n                g = v\n",
    ),
]

EXTREMES = [
    Bug(
        "the norm sees the first block of a long shard only",
        "clip.py",
        "for start in starts(rest.size, BLOCK - LANES):",
        "for start in starts(rest.size, BLOCK - LANES)[:1]:",
    ),
    Bug(
        "every block of a shard uses the state of the first",
        "optim.py",
        "            m, v = self.m[block], self.v[block]\n",
        "            m, v = self.m[: p.size], self.v[: p.size]\n",
    ),
    Bug(
        "squares are rounded to the gradient's type, where large ones overflow",
        "clip.py",
        "lanes[...] = vector[:LANES]\n    lanes *= lanes\n",
        "lanes[...] = vector[:LANES] * vector[:LANES]\n",
    ),
    Bug(
        "the softmax does not take the largest logit off, so large ones overflow",
        "autograd.py",
        "z.max(axis=1, keepdims=True)",
        "0 * z.max(axis=1, keepdims=True)",
    ),
]

BITS = [
    Bug(
        "the all-reduce is MPI's own, which adds in another order",
        "comm.py",
        "self.all_gather(self.reduce_scatter(full, layout), layout, out=full)",
        "self.mpi.Allreduce(IN_PLACE, full)",
    ),
    Bug(
        "stage 0 takes the norm of the whole gradient at once: right, but not to the last bit",
        ZERO0,
        "[comm.shard(u.grad, u.layout) for u in units]",
        "[u.grad if comm.rank == 0 else u.grad[:0] for u in units]",
    ),
]

PREFETCH = [
    Bug(
        "the parameters of the unit that has computed stay until the next are there",
        "stages/zero3_prefetch.py",
        "            del param  # or three units would be here at once\n",
        "",
    ),
    Bug(
        "all units are gathered at once",
        "stages/zero3_prefetch.py",
        "    for u, following in zip(units, [*units[1:], None]):\n"
        "        here, coming = coming, following and "
        "comm.start_all_gather(following.param, following.layout)\n",
        "    all = [coming, *(comm.start_all_gather(u.param, u.layout) for u in units[1:])]\n"
        "    for u, here in zip(units, all):\n",
    ),
    Bug(
        "the backward pass gathers in the order of the forward pass",
        "stages/zero3_prefetch.py",
        "        for u, param in gathered(units[::-1], comm):\n",
        "        for u, param in [(u, p) for u, p in gathered(units, comm)][::-1]:\n",
    ),
    Bug(
        "the last starting values of a piece are those of the next",
        "model.py",
        "            start += piece.size\n",
        "            start += piece.size - 1\n",
    ),
    Bug(
        "the padding of a gradient is what lay there before",
        "model.py",
        "        grad[self.layout.elements :] = 0  # padding is summed and squared like the rest\n",
        "        grad[self.layout.elements :] = 0.5\n",
    ),
]

COLLECTIVES = [
    Bug(
        "the all-gather puts the own shard at the front",
        "comm.py",
        "comm.encode(self.wire[self.wire_layout.slice_of(comm.rank)], shard)",
        "comm.encode(self.wire[: shard.size], shard)",
    ),
    Bug(
        "an uneven all-gather takes the counts as even",
        "comm.py",
        "self.mpi.Allgatherv(IN_PLACE, [plain(wire), layout.counts])",
        "self.mpi.Allgatherv(IN_PLACE, [plain(wire), [len(wire) // self.size] * self.size])",
    ),
    Bug(
        "an uneven all-gather that was started takes the counts as even",
        "comm.py",
        "self.mpi.Iallgatherv(IN_PLACE, [plain(wire), layout.counts])",
        "self.mpi.Iallgatherv(IN_PLACE, [plain(wire), [len(wire) // self.size] * self.size])",
    ),
    Bug(
        "an all-gather that was started is not booked",
        "comm.py",
        "return gathering.finish(gathering.sent)",
        "return gathering.finish(0)",
    ),
    Bug(
        "every piece of a shard is the first",
        "layout.py",
        "slice(begin + min(start, count), begin + min(start + size, count))",
        "slice(begin, begin + min(start + size, count) - min(start, count))",
    ),
    Bug(
        "the pieces of a short shard are as long as those of a long one",
        "layout.py",
        "slice(begin + min(start, count), begin + min(start + size, count))",
        "slice(begin + start, begin + min(start + size, max(self.counts)))",
    ),
    Bug(
        "the ordered sum takes its own part twice and rank 0's never",
        "comm.py",
        "add_up(terms, receive, done, total)",
        "add_up([terms[self.rank], *terms[1:]], receive, done, total)",
    ),
    Bug(
        "the ordered sum begins with the own part, in another order on each rank",
        "comm.py",
        "add_up(terms, receive, done, total)",
        "add_up(terms[self.rank :] + terms[: self.rank], receive, done, total)",
    ),
    Bug(
        "the ring's reduce-scatter sends to the left but counts shards to the right",
        "comm.py",
        "right, left = (self.rank + 1) % self.size, (self.rank - 1) % self.size\n        # Shard",
        "left, right = (self.rank + 1) % self.size, (self.rank - 1) % self.size\n        # Shard",
    ),
    Bug(
        "the ring's reduce-scatter is one hop short",
        "comm.py",
        "for hop in range(1, self.size):",
        "for hop in range(1, self.size - 1):",
    ),
    Bug(
        "the ring's reduce-scatter passes on the old chunk, not the one that arrived",
        "comm.py",
        "            partial, incoming = incoming, partial\n",
        "",
    ),
    Bug(
        "the ring's reduce-scatter forgets the own part on the way",
        "comm.py",
        "            arriving += send[layout.slice_of(comes)]\n",
        "",
    ),
    Bug(
        "the ring's all-gather is one hop short",
        "comm.py",
        "for hop in range(self.size - 1):",
        "for hop in range(self.size - 2):",
    ),
    Bug(
        "the sum of one number leaves the last rank out",
        "comm.py",
        "float(sum(values.tolist()))",
        "float(sum(values.tolist()[: max(1, self.size - 1)]))",
    ),
]

LAYOUT = [
    Bug(
        "the order of blocks is not undone after an all-gather",
        "layout.py",
        "            full.reshape(-1, self.block)[self.blocks] = ranked.reshape(-1, self.block)\n",
        "            full[...] = ranked\n",
    ),
    Bug(
        "the order of blocks is applied once more where it should be undone",
        "layout.py",
        "            full.reshape(-1, self.block)[self.blocks] = ranked.reshape(-1, self.block)\n",
        "            full[...] = ranked.reshape(-1, self.block)[self.blocks].reshape(-1)\n",
    ),
    Bug(
        "a gradient is reduced in model order, though shards are in rank order",
        "layout.py",
        'return track("buffer", full.reshape(-1, self.block)[self.blocks]).reshape(-1)',
        "return full",
    ),
    Bug(
        "the slices are rounded down: the last elements belong to nobody",
        "layout.py",
        "[-(-self.elements // size)] * size",
        "[self.elements // size] * size",
    ),
    Bug(
        "the last block is lost where blocks do not fit",
        "layout.py",
        "owner = deal(-(-self.elements // self.block), ",
        "owner = deal(self.elements // self.block, ",
    ),
    Bug(
        "the hash rule uses Python's hash, which differs in every process",
        "layout.py",
        'ticket = int.from_bytes(digest, "little") % sum(shares)',
        "ticket = hash((seed, name, number)) % sum(shares)",
    ),
    Bug(
        "the random rule has no seed, so ranks deal differently",
        "layout.py",
        "np.random.default_rng([seed, *name.encode()])",
        "np.random.default_rng()",
    ),
    Bug(
        "all units share one permutation of blocks",
        "layout.py",
        "np.random.default_rng([seed, *name.encode()])",
        "np.random.default_rng([seed])",
    ),
]

DATA = [
    Bug(
        "the short last batch of an epoch is dropped",
        "data.py",
        "self.steps_per_epoch = -(-len(ids) // batch_size)",
        "self.steps_per_epoch = max(1, len(ids) // batch_size)",
    ),
    Bug(
        "every rank takes the first slice of the batch",
        "data.py",
        "ids[ends[self.rank] : ends[self.rank + 1]]",
        "ids[ends[0] : ends[1]]",
    ),
    Bug(
        "neighbouring slices share a sample",
        "data.py",
        "ids[ends[self.rank] : ends[self.rank + 1]]",
        "ids[ends[self.rank] : ends[self.rank + 1] + 1]",
    ),
    Bug(
        "the shuffle depends on the rank",
        "data.py",
        "[self.seed, 1, epoch]",
        "[self.seed, 1, epoch, self.rank]",
    ),
    Bug(
        "each rank shuffles a micro-batch in its own way before taking its slice",
        "data.py",
        "[self.seed, 2, epoch, step, micro_batch]",
        "[self.seed, 2, epoch, step, micro_batch, self.rank]",
    ),
    Bug(
        "every epoch has the order of the first",
        "data.py",
        "[self.seed, 1, epoch]",
        "[self.seed, 1, 0]",
    ),
    Bug(
        "a sample's owner by hash changes with the epoch",
        "data.py",
        "self.owner[np.searchsorted(self.ids, ids)] == self.rank",
        "(self.owner[np.searchsorted(self.ids, ids)] + epoch) % len(self.shares) == self.rank",
    ),
    Bug(
        "the test samples are trained on, too",
        "data.py",
        "np.sort(order[test:])",
        "np.sort(order)",
    ),
]

TABLES = [
    Bug(
        "a first line with a missing value is taken for names",
        "datasets/csv_files.py",
        "    if any(map(is_number, cells)):\n",
        "    if all(map(is_number, cells)):\n",
    ),
    Bug(
        "numbers of columns become a sample",
        "datasets/csv_files.py",
        "if len(cells) > 2 and cells ==",
        "if False and cells ==",
    ),
    Bug(
        "a row without values is left out",
        "datasets/csv_files.py",
        "                if empty:\n",
        "                if False:\n",
    ),
    Bug(
        "several targets come in the order of the file",
        "datasets/csv_files.py",
        "return [names.index(name) for name in asked]",
        "return sorted(names.index(name) for name in asked)",
    ),
    Bug(
        "one-hot labels are taken for numbers without being asked",
        "datasets/csv_files.py",
        "if y.ndim > 1 and how.task is None and is_one_hot(y):",
        "if False:",
    ),
    Bug(
        "an index column is a feature",
        "datasets/csv_files.py",
        "if columns > 1 and (which := index_among(names)):",
        "if False:",
    ),
    Bug(
        "an index is known only where all other columns have names",
        "datasets/csv_files.py",
        "    if not names[0]:",
        "    if not names[0] and all(names[1:]):",
    ),
    Bug(
        "an index that pandas has read again is a feature",
        "datasets/csv_files.py",
        "if INDEX.fullmatch(name)",
        'if name == "Unnamed: 0" and name == names[0]',
    ),
    Bug(
        "a column that the model does not know is left out",
        "datasets/csv_files.py",
        "if strange or missing:",
        "if missing:",
    ),
    Bug(
        "columns are found by their places alone",
        "datasets/csv_files.py",
        "if names and how.columns:",
        "if False:",
    ),
    Bug(
        "1_000 is a number",
        "datasets/csv_files.py",
        'if any("_" in cell for cell in row.cells):',
        "if False:",
    ),
    Bug(
        "a mark of UTF-16 is not looked at",
        "datasets/csv_files.py",
        'encoding="utf-16" if utf16 else "utf-8-sig"',
        'encoding="utf-8-sig"',
    ),
    Bug(
        "the limit of data is not compared",
        "datasets/reading.py",
        "if size > limit:",
        "if False:",
    ),
    Bug(
        "an array's length is not compared with its file",
        "datasets/npz_files.py",
        "if size != held and",
        "if False and",
    ),
    Bug(
        "one class is enough",
        "datasets/__init__.py",
        "if y.min() == y.max():",
        "if False:",
    ),
    Bug(
        "labels may leave numbers out",
        "datasets/__init__.py",
        "if not asked and len(np.unique(y))",
        "if False and len(np.unique(y))",
    ),
    Bug(
        "a constant has the variance of its rounding",
        "data.py",
        "0.0 if (y == y[:1]).all() else ",
        "",
    ),
]

GRADIENTS = [
    Bug(
        "gelu's square overflows in 16 bits",
        "autograd.py",
        "return xp.minimum(xp.maximum(x.data, -10), 10)",
        "return x.data",
    ),
    Bug(
        "a loss goes back twice",
        "autograd.py",
        "        if next(calls):\n",
        "        if False:\n",
    ),
    Bug(
        "cross-entropy is divided by the rank's own samples: a mean of means",
        "autograd.py",
        "xp.multiply(p, g / numbers, out=p)",
        "xp.multiply(p, g / max(1, len(labels)), out=p)",
    ),
    Bug(
        "squared error is divided by the rank's own samples: a mean of means",
        "autograd.py",
        "numbers = samples * targets.shape[1]",
        "numbers = max(1, targets.size)",
    ),
    Bug(
        "the bias gradient is averaged over the batch, not summed",
        "autograd.py",
        "b.add_grad(sum_rows, g)",
        "b.add_grad(lambda g, out: sum_rows(g / max(1, len(g)), out), g)",
    ),
    Bug(
        "relu's mask asks for the sign of the gradient, not of its input",
        "autograd.py",
        "xp.greater(x.data, 0)",
        "xp.greater(g, 0)",
    ),
    Bug(
        "a second contribution to a gradient replaces the first",
        "autograd.py",
        "            self.grad += place",
        "            self.grad[...] = place",
    ),
    Bug(
        "gradients of inner nodes outlive their use",
        "autograd.py",
        "                node.grad = None  # only leaves keep theirs\n",
        "",
    ),
]

COMMAND = [
    Bug(
        "the training loop divides by the rank's own samples: a mean of means",
        "train/run.py",
        "samples = len(batches.global_batch(epoch, step))",
        "samples = max(1, sum(map(len, parts)))",
    ),
    Bug(
        "the loss that is reported is averaged over the ranks, not summed",
        "train/run.py",
        "losses.append(run.world.sum(loss))",
        "losses.append(run.world.sum(loss) / run.world.size)",
    ),
    Bug(
        "every epoch takes the batches of the first",
        "train/run.py",
        "parts = batches.parts(epoch, step)",
        "parts = batches.parts(0, step)",
    ),
    Bug(
        "the settings of SGD do not reach it",
        "train/choose.py",
        "for name in optim.settings(kind)}",
        'for name in optim.settings(kind) if name != "momentum"}',
    ),
    Bug(
        "r2 compares with the mean of all numbers, not of each target",
        "data.py",
        "y.mean(axis=0)",
        "y.mean()",
    ),
    Bug(
        "the test counts right answers of one rank only",
        "train/held_out.py",
        "world.sum(right) / (samples * tokens)",
        "right / (samples * tokens)",
    ),
    Bug(
        "the initial weights differ between ranks",
        "model.py",
        "np.random.default_rng([seed, i])",
        "np.random.default_rng()",
    ),
    Bug(
        "the hash of the model takes its padding in",
        "checkpoint/weights.py",
        "np.ascontiguousarray(values,",
        "np.ascontiguousarray(values.base,",
    ),
]

BYTES = [
    Bug(
        "stage 1 keeps the optimizer state of all parameters",
        ZERO1,
        "new_optimizer(u.layout.counts[comm.rank])",
        "new_optimizer(u.layout.padded)",
    ),
    Bug(
        "stage 1 sends the gradient around a second time",
        ZERO1,
        "    norm, scale =",
        "    for u in units:\n        comm.all_reduce(u.grad, u.layout)\n    norm, scale =",
    ),
    Bug(
        "stage 2's shard of the gradient is a view that keeps the whole one alive",
        ZERO2,
        'zeros(u.layout.counts[comm.rank], u.dtype, "gradient")',
        'comm.shard(zeros(u.layout.padded, u.dtype, "gradient"), u.layout)',
    ),
    Bug(
        "stage 2 lets one unit's whole gradient live until the next one's is made",
        ZERO2,
        "            del grad  # or two units' whole gradients would be alive at once\n",
        "",
    ),
    Bug(
        "stage 3's shard of the parameters is a view that keeps the whole ones alive",
        ZERO3,
        'comm.shard(u.initial("gathered"), u.layout).copy()',
        'comm.shard(u.initial("gathered"), u.layout)',
    ),
    Bug(
        "stage 3 keeps what it gathered in the forward pass",
        ZERO3,
        "            x = u.forward(comm.all_gather(u.param, u.layout), x)\n",
        "            u.whole = comm.all_gather(u.param, u.layout)\n            x = u.forward(u.whole, x)\n",
    ),
    Bug(
        "stage 3 keeps what it gathered in the forward pass and does not gather again",
        "model.py",
        "        self._take_back()\n        return self.output.data  # (samples, outputs)",
        "        return self.output.data  # (samples, outputs)",
    ),
    Bug(
        "stage 3 gathers after the update, too, as stage 2 does",
        ZERO3,
        "        u.optimizer.update(u.param, u.grad, scale)\n",
        "        u.optimizer.update(u.param, u.grad, scale)\n        comm.all_gather(u.param, u.layout)\n",
    ),
    Bug(
        "linear's backward function holds the array of the weights, not their node",
        "autograd.py",
        "    def backward(g: Array) -> None:  # g = dL/dy, (..., outputs)\n",
        "    def backward(g: Array, held: Array = w.data) -> None:\n",
    ),
    Bug(
        "a unit keeps its activations after the backward pass",
        "model.py",
        "        self._take_back()\n        self.forget()\n        return g, grad",
        "        self._take_back()\n        return g, grad",
    ),
    Bug(
        "the ledger counts elements, four bytes each, whatever their type",
        "ledger.py",
        "array.nbytes, id(array))",
        "4 * array.size, id(array))",
        count=2,
    ),
    Bug(
        "the ledger gives bytes back as soon as it has counted them",
        "ledger.py",
        "        weakref.finalize(array, self.give_back, self.live, kind, array.nbytes, "
        "id(array)).atexit = False\n",
        "        self.add(kind, -array.nbytes)\n",
    ),
    Bug(
        "the all-gather counts N times its shard, not N - 1 times",
        "comm.py",
        "return layout.counts[self.rank] * wire.itemsize * len(self.others)",
        "return layout.counts[self.rank] * wire.itemsize * self.size",
    ),
    Bug(
        "the reduce-scatter counts its own shard as sent",
        "comm.py",
        'ledger.count_sent("reduce_scatter", sent)',
        'ledger.count_sent("reduce_scatter", sent + shard.nbytes)',
    ),
    Bug(
        "the ring counts as sent what the left began with, not the right",
        "comm.py",
        "return wire.nbytes - layout.counts[right] * wire.itemsize",
        "return wire.nbytes - layout.counts[left] * wire.itemsize",
    ),
]

BILLS_AND_DRY_RUNS = [
    Bug(
        "the bill of stage 1 has one reduced unit, though all wait for the norm",
        "plan/formulas.py",
        'reduced_at_the_end = keeps["gradient"] == "all" and keeps["optimizer"] == "1/N"',
        "reduced_at_the_end = False",
    ),
    Bug(
        "the bill of the ring takes off what the left began with, not the right",
        "plan/formulas.py",
        "each.counts[(rank + 1) % size]",
        "each.counts[(rank - 1) % size]",
    ),
    Bug(
        "the bill has one pass of the gradient, whatever the micro-batches",
        "plan/formulas.py",
        'micro_batches if keeps["gradient"] == "1/N" else 1',
        "1",
    ),
    Bug(
        "the bill gathers units as they are, without their padding",
        "plan/formulas.py",
        "    size = len(layouts[0].counts)\n    whole = [each.padded for each in layouts]",
        "    size = len(layouts[0].counts)\n    whole = [each.elements for each in layouts]",
    ),
    Bug(
        "a dry run is counted in the ledger of the run that asks for it",
        "array.py",
        "        with ledger.set_aside():\n            yield\n",
        "        yield\n",
    ),
    Bug(
        "an array that dies is taken out of the book that is open by then",
        "ledger.py",
        "if live is self.live:",
        "if True:",
    ),
    Bug(
        "a dry run sends no loss",
        "train/dry_run.py",
        "    run.world.sum(loss)\n",
        "",
    ),
    Bug(
        "a dry run looks at the same rank, whoever is asked for",
        "train/dry_run.py",
        "comm, world = choose.comm(o, Silence(rank, ranks))",
        "comm, world = choose.comm(o, Silence(0, ranks))",
    ),
    Bug(
        "without numbers a sum keeps the shape of what is summed",
        "meta.py",
        "        gone = range(self.ndim) if axis is None else [axis % self.ndim]\n",
        "        gone = []\n",
    ),
]

PRECISION = [
    Bug(
        "a clipping factor of 0 is taken for an overflow",
        "precision.py",
        "if self.max_norm and 0 < norm < math.inf and used == 0:",
        "if False:",
    ),
    Bug("the master is rounded anew before every update", "precision.py", "if self.steps == 0:", "if True:"),
    Bug(
        "the loss scale stays in the update",
        "precision.py",
        "scaled / self.scale, factor / self.scale",
        "scaled / self.scale, factor",
    ),
    Bug(
        "an overflow does not stop the update",
        "precision.py",
        "return scaled, 0.0",
        "return scaled, 1 / self.scale",
    ),
    Bug("the scale does not shrink", "precision.py", "self.scale = max(self.scale / 2, self.floor)", "pass"),
    Bug(
        "the scale sinks below its floor", "precision.py", "max(self.scale / 2, self.floor)", "self.scale / 2"
    ),
    Bug("the scale never grows", "precision.py", "if self.good == self.window:", "if False:"),
    Bug(
        "an overflow does not begin a new window",
        "precision.py",
        "self.good, self.skipped = 0, self",
        "self.skipped = self",
    ),
    Bug(
        "the clipping threshold does not follow the scale",
        "precision.py",
        "self.max_norm and self.max_norm * self.scale",
        "self.max_norm",
    ),
    Bug(
        "16-bit gradients are summed in 16 bits",
        "comm.py",
        '"float32") if send.itemsize == 2 else None',
        '"float32") if send.itemsize == 1 else None',
    ),
    Bug(
        "NaN does not stop a run",
        "precision.py",
        "if factor == 0:\n            raise NotFinite(self.describe(comm, shards))\n        return",
        "return",
    ),
    Bug(
        "the last tensor that is not finite is named, not the first",
        "precision.py",
        "in reversed(list(zip(self.units, shards)))",
        "in zip(self.units, shards)",
    ),
]
BETWEEN = [
    Bug(
        "the groups are added twice",
        "extras/groups.py",
        "        self.sum_between_groups(shard, layout)\n",
        "        self.sum_between_groups(shard, layout)\n        self.sum_between_groups(shard, layout)\n",
    ),
    Bug(
        "the sum between groups is forgotten",
        "extras/groups.py",
        "        self.sum_between_groups(shard, layout)\n",
        "",
    ),
    Bug(
        "the norm is over all ranks, and counts every shard once for each group",
        "extras/groups.py",
        "    def everyone(self, value: Any) -> list[Any]:",
        "    def sum(self, value: Any) -> float:\n        return self.world.sum(value)\n\n"
        "    def everyone(self, value: Any) -> list[Any]:",
    ),
    Bug(
        "a shard is summed with a neighbour's, not with the same one",
        "extras/groups.py",
        "range(place, size, group)",
        "range(place * (size // group), (place + 1) * (size // group))",
    ),
    Bug(
        "what goes between groups is counted as if it stayed inside",
        "ledger.py",
        "self.between[collective] += nbytes if between else 0",
        "self.between[collective] += 0",
    ),
    Bug(
        "the bill has every group pay once a step",
        "plan/formulas.py",
        '(reduced * sum(each) * times["reduce_scatter"] for each',
        "(reduced * sum(each) for each",
    ),
    Bug(
        "samples are dealt inside a group, and every group computes all of them",
        "train/choose.py",
        "rank=comm.rank, shares=shares * (comm.size // len(shares))",
        "rank=comm.rank % len(shares), shares=shares",
    ),
    Bug(
        "every group writes the same files of a checkpoint",
        "checkpoint/saving.py",
        "    if run.world.rank != rank:\n        return None  # another rank has the same shards\n",
        "",
    ),
    Bug(
        "copies of a shard in other groups are not compared",
        "train/replicas.py",
        "for u in run.units if run.comm.size < run.world.size else []:",
        "for u in []:",
    ),
    Bug(
        "only the ranks of a group report",
        "extras/groups.py",
        "return self.world.everyone(value)",
        "return super().everyone(value)",
    ),
    Bug(
        "the map of traffic sends a sum between groups to neighbours",
        "report/page.py",
        'if name == "sum_between_groups":',
        'if name == "sum_between":',
    ),
]

WAYS = [
    Bug(
        "a ring sends between machines what each sends to each",
        "plan/traffic.py",
        "leg.inside + leg.between if leg.inside and leg.between else near * leg.between for leg in legs",
        "near * leg.between for leg in legs",
    ),
    Bug(
        "direct is counted for one rank of a machine",
        "plan/traffic.py",
        "direct = sum(near * leg.between for leg in legs)",
        "direct = sum(leg.between for leg in legs)",
    ),
    Bug(
        "all that goes to other ranks leaves the machine",
        "plan/traffic.py",
        "far = sum(weight for other, weight in others.items() if other not in here)",
        "far = sum(others.values())",
    ),
    Bug(
        "every rank of a ring sends to the next machine",
        "plan/traffic.py",
        "return len(weights), nbytes / len(here)",
        "return len(weights), nbytes",
    ),
    Bug(
        "a sum between groups is one call",
        "plan/traffic.py",
        'IN_ONE = {"sum_between_groups": 2}',
        "IN_ONE: dict[str, int] = {}",
    ),
    Bug(
        "what has only been begun is counted, too",
        "plan/traffic.py",
        'if not call.name.startswith("start_") and not one_hop:',
        "if not one_hop:",
    ),
    Bug(
        "a second copy is gathered without a code and counted with one",
        "plan/zeropp.py",
        'gathers = times["all_gather"] // (2 if hpz else 1)',
        'gathers = times["all_gather"]',
    ),
    Bug(
        "what comes back to be remembered costs no time",
        "plan/zeropp.py",
        "sum(coded) * (2 if error_feedback else 1)",
        "sum(coded)",
    ),
    Bug(
        "the sender of a ring has a rank's part of the link",
        "plan/timing.py",
        "together = (leg.inside + leg.between) / min(link.bandwidth, near * other.bandwidth)",
        "together = (leg.inside + leg.between) / min(link.bandwidth, other.bandwidth)",
    ),
    Bug(
        "a hop between machines costs what one inside does",
        "plan/timing.py",
        "here * link.latency + (there - here) * other.latency",
        "there * link.latency",
    ),
    Bug(
        "bytes between machines go over the link inside",
        "plan/timing.py",
        "between += leg.between / other.bandwidth",
        "between += leg.between / link.bandwidth",
    ),
    Bug(
        "a step has no time for what lies outside",
        "plan/sizing.py",
        "crowded * outside(row.work, machine),",
        "0.0,",
    ),
    Bug(
        "all machines crowd one machine's cores",
        "plan/sizing.py",
        "crowded = machine.crowding(near)",
        "crowded = machine.crowding(ranks)",
    ),
    Bug(
        "of what an extra gives only stage 3 is tried",
        "plan/ways.py",
        'with_extras = [(f"{stage}+", stage, asked | of_machines) for stage in range(4)]',
        'with_extras = [(f"{stage}+", stage, asked | of_machines) for stage in (3,)]',
    ),
    Bug(
        "a token is computed once for a sample",
        "plan/sizing.py",
        "products = samples * tokens * sum(",
        "products = samples * sum(",
    ),
    Bug(
        "a text is compared as a table",
        "plan/compare.py",
        "return dataclasses.replace(data, **shapes)",
        "return dataclasses.replace(data, **shapes, alphabet=None)",
    ),
]
PLANS = [
    Bug(
        "a column of the plan changes from bytes to GB at 10 million",
        "plan/cells.py",
        "[size(x) for x in column] if max(column) >= 1e8 else",
        "[size(x) for x in column] if True else",
    ),
    Bug(
        "the scores of attention count only where a block is computed again",
        "plan/formulas.py",
        "return mask + layers * block + output",
        "return mask + layers * tokens * (16 * itemsize + 2) * hidden + output",
    ),
    Bug(
        "the input of the block that is computed again counts twice",
        "plan/formulas.py",
        "(layers - 1) * given + max(",
        "layers * given + max(",
    ),
    Bug("an embedding that is tied counts twice", "plan/formulas.py", "(1 if tied else 2)", "2"),
    Bug("positions are left out", "plan/formulas.py", "(1 if tied else 2) + positions", "(1 if tied else 2)"),
    Bug(
        "the embeddings are spread over the blocks",
        "plan/answer.py",
        "embeddings=psi - o.layers * transformer_block_parameters(hidden) if vocab else 0",
        "embeddings=0",
    ),
    Bug(
        "the sizes that a record names are believed",
        "plan/compare.py",
        "    check_sizes(o, data, record)\n",
        "",
    ),
    Bug(
        "the options of a record are taken as they are",
        "plan/compare.py",
        'if unknown or config.get("place") not in PLACES:',
        "if False:",
    ),
]
ACCUMULATE = [
    Bug(
        "the option is read, and the gradient stays in 16 bits",
        "train/choose.py",
        "accumulate.wide(chosen, wider) if wider else chosen",
        "chosen",
    ),
    Bug(
        "the gradient of 16 bits stays beside the one of float32",
        "extras/accumulate.py",
        "            u.grad = zeros(u",
        "            u.narrow, u.grad = u.grad, zeros(u",
    ),
    Bug(
        "every rank keeps the whole gradient in float32",
        "extras/accumulate.py",
        "zeros(u.grad.size, dtype",
        "zeros(u.layout.padded, dtype",
    ),
    Bug(
        "the bill has stage 2 reduce in float32",
        "plan/formulas.py",
        'reduced = kept if keeps["gradient"] == "all" else itemsize',
        "reduced = kept",
    ),
    Bug(
        "the bill has stage 0 gather the gradient in 16 bits",
        "plan/formulas.py",
        "(kept if gathers_gradient else itemsize) * gathered",
        "itemsize * gathered",
    ),
    Bug(
        "a resumed run forgets in what it adds up",
        "train/options.py",
        'PASSING |= {"report",',
        'PASSING |= {"accumulate", "report",',
    ),
]
RECOMPUTE = [
    Bug(
        "the option is read, and all is kept",
        "train/choose.py",
        "recompute.recomputing(made) if o.recompute else made",
        "made",
    ),
    Bug(
        "a unit that computes again keeps what it has computed first",
        "extras/recompute.py",
        "        self.unit.forget()\n",
        "",
    ),
    Bug(
        "the last unit computes again what is still there",
        "extras/recompute.py",
        "[*map(Recompute, units[:-1]), *units[-1:]]",
        "[*map(Recompute, units)]",
    ),
    Bug(
        "the output of a block of 16 bits has 32",
        "autograd.py",
        'y = track("activation", x.data.copy())\n    y *= 0.5',
        'y = track("activation", 0.5 * x.data)',
    ),
    Bug(
        "a record's recomputation is not compared",
        "plan/compare.py",
        'family.PASSING | {"prefetch"}',
        'family.PASSING - {"recompute"} | {"prefetch"}',
    ),
]
SCHEDULE = [
    Bug(
        "every step has the rate of the first", "train/run.py", "lr = rate(number)", "lr = rate(steps.start)"
    ),
    Bug(
        "a resumed run begins its schedule anew",
        "train/run.py",
        "lr = rate(number)",
        "lr = rate(number - steps.start)",
    ),
    Bug(
        "only the first unit's optimizer is told the rate",
        "train/run.py",
        "        for u in run.units:\n            u.optimizer.lr",
        "        for u in run.units[:1]:\n            u.optimizer.lr",
    ),
    Bug(
        "the optimizer below a float32 master is not told",
        "precision.py",
        "        self.optimizer.lr = rate\n",
        "        pass\n",
    ),
    Bug(
        "the first step of a warm-up has a rate of 0",
        "extras/schedule.py",
        "(done + 1) / (self.warmup + 1)",
        "done / self.warmup",
    ),
    Bug(
        "the decay ends before the run, as if the warm-up came on top",
        "extras/schedule.py",
        "(done - self.warmup) / (self.last - self.warmup)",
        "min(1.0, done / (self.last - self.warmup))",
    ),
    Bug(
        "the end of the schedule is how many steps are left",
        "train/run.py",
        "choose.schedule(o, steps.stop)",
        "choose.schedule(o, len(steps))",
    ),
]
CHECKPOINTS = [
    Bug(
        "a checkpoint's options may end the command that reads it",
        "train/options.py",
        'ENDING = {"-h", "--help", "--version"}',
        'ENDING = {"-h", "--help"}',
    ),
    Bug(
        "the number of columns is not compared",
        "checkpoint/__init__.py",
        "if manifest.columns is not None and",
        "if False and",
    ),
    Bug(
        "the manifest's own digest is not compared",
        "checkpoint/__init__.py",
        "if text != signed(head):",
        "if False:",
    ),
    Bug(
        "the files' digests are not compared",
        "checkpoint/__init__.py",
        "if found != file.sha256:",
        "if False:",
    ),
    Bug(
        "a link is taken for a file",
        "checkpoint/__init__.py",
        "about = (self.folder / file.name).lstat()",
        "about = (self.folder / file.name).stat()",
    ),
    Bug(
        "names are taken from the manifest as they are",
        "checkpoint/__init__.py",
        "if [file.name for file in everything] != expected:",
        "if False:",
    ),
    Bug(
        "files that do not belong there are ignored",
        "checkpoint/__init__.py",
        "{*expected, MANIFEST} ^ set(",
        "{*expected, MANIFEST} - set(",
    ),
    Bug(
        "gaps and overlaps are not looked for",
        "checkpoint/__init__.py",
        "if ends != starts or any(a >= b for a, b, _, _ in pieces):",
        "if False:",
    ),
    Bug("a shard's header is not compared", "checkpoint/__init__.py", "if found != expected:", "if False:"),
    Bug(
        "a manifest may have any length",
        "checkpoint/__init__.py",
        "if about.st_size > MOST_MANIFEST_BYTES:",
        "if False:",
    ),
    Bug(
        "a piece is read from the beginning of the file",
        "checkpoint/__init__.py",
        "[place + low - a : place + high - a]",
        "[low - a : high - a]",
    ),
    Bug(
        "the oldest checkpoint is taken for the newest",
        "checkpoint/__init__.py",
        "next(reversed(complete(folder)), None)",
        "next(iter(complete(folder)), None)",
    ),
    Bug(
        "a link is taken for a checkpoint",
        "checkpoint/__init__.py",
        "stat.S_ISDIR(p.lstat().st_mode)",
        "stat.S_ISDIR(p.stat().st_mode)",
    ),
    Bug(
        "an export does not verify",
        "checkpoint/__main__.py",
        "    checkpoint.verify()\n    dtype",
        "    dtype",
    ),
    Bug(
        "a checkpoint has its name while it is being written",
        "checkpoint/saving.py",
        'part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")',
        "part = path",
    ),
    Bug("the shards are not forced to the disk", "checkpoint/saving.py", "    to_disk(file)\n", ""),
    Bug(
        "the folder is not forced to the disk before it is renamed",
        "checkpoint/saving.py",
        "    to_disk(part)\n",
        "",
    ),
    Bug("the rename is not forced to the disk", "checkpoint/saving.py", "    to_disk(path.parent)\n", ""),
    Bug(
        "the latest are deleted and the oldest kept",
        "checkpoint/saving.py",
        "complete(folder)[:-keep]",
        "complete(folder)[keep:]",
    ),
    Bug(
        "a failure is told in rank 0's name",
        "checkpoint/saving.py",
        "rank {comm.rank}: {error}",
        "rank 0: {error}",
    ),
    Bug(
        "half a checkpoint stays after a failure",
        "checkpoint/saving.py",
        "        if comm.rank == 0:\n            shutil.rmtree(part, ignore_errors=True)\n        raise",
        "        raise",
    ),
    Bug(
        "nobody looks whether all shards are in the folder",
        "checkpoint/saving.py",
        "if not (part / about.name).is_file():",
        "if False:",
    ),
    Bug(
        "padding is saved",
        "checkpoint/originals.py",
        ".append(values[where])",
        ".append(values[where.start :])",
    ),
    Bug(
        "the state of stages 1 and 2 is taken for a whole one",
        "checkpoint/originals.py",
        'keeps["parameter" if name == "param" else "optimizer"] == "all"',
        'keeps["parameter"] == "all"',
    ),
    Bug(
        "the state of stage 0 is taken for a shard",
        "checkpoint/saving.py",
        "[(0, u.layout.elements)] if whole else u.layout",
        "u.layout",
    ),
    Bug(
        "the number of updates starts again",
        "checkpoint/saving.py",
        "        u.optimizer.steps = m.optimizer_steps\n",
        "",
    ),
    Bug(
        "the loss scale starts again",
        "checkpoint/saving.py",
        "if isinstance(guard, LossScale) and m.loss_scale:",
        "if False:",
    ),
    Bug(
        "a resumed run repeats a step",
        "checkpoint/saving.py",
        "guard.steps = m.step\n",
        "guard.steps = m.step - 1\n",
    ),
    Bug(
        "a resumed run begins its data again",
        "train/run.py",
        "steps = range(run.guard.steps, o.epochs * batches.steps_per_epoch if o.steps is None else o.steps)",
        "steps = range(0, (o.steps or o.epochs * batches.steps_per_epoch) - run.guard.steps)",
    ),
    Bug("the second moment is not saved", "optim.py", '{"m": self.m, "v": self.v}', '{"m": self.m}'),
    Bug(
        "the momentum is not saved",
        "optim.py",
        '{} if self.velocity is None else {"velocity": self.velocity}',
        "{}",
    ),
    Bug(
        "the master is not saved",
        "precision.py",
        '{"master": self.master, **whole_state(self.optimizer)}',
        "whole_state(self.optimizer)",
    ),
    Bug(
        "the master is made anew from rounded parameters",
        "precision.py",
        "        if self.steps == 0:\n            self.master[...] = param\n",
        "        if not hasattr(self, 'begun'):\n"
        "            self.begun = True\n"
        "            self.master[...] = param\n",
    ),
    Bug(
        "a run goes on with other data",
        "train/run.py",
        "if checkpoint and checkpoint.manifest.data_sha256 != found[DATA]:",
        "if False:",
    ),
    Bug(
        "a run goes on as another one",
        "train/options.py",
        "        if getattr(o, name) != getattr(before, name):",
        "        if False:",
    ),
    Bug(
        "a checkpoint's options may do anything",
        "train/options.py",
        " or lasting(before := _complete(p, p.parse_args(resumed))) != resumed:",
        " or not (before := _complete(p, p.parse_args(resumed))):",
    ),
    Bug(
        "a run saves into another one's folder",
        "checkpoint/saving.py",
        "if last and resumed is None:",
        "if False:",
    ),
    Bug("nobody owns a folder", "checkpoint/owner.py", "if locked is False:", "if False:"),
    Bug(
        "the lock is on a file that its owner has taken away",
        "checkpoint/owner.py",
        " and is_still(_held[file][0], file)):",
        "):",
    ),
    Bug(
        "what another run has begun is deleted",
        "checkpoint/saving.py",
        " if owner.is_owned(folder) else []:",
        ":",
    ),
    Bug("shards are their owner's alone", "checkpoint/saving.py", "    give_mode(file, mode)\n", ""),
    Bug(
        "a model is built before it is compared",
        "checkpoint/saving.py",
        'choose.units(o, checkpoint.manifest.task, 1, rule="contiguous")',
        "choose.units(o, checkpoint.manifest.task, 1)",
    ),
    Bug(
        "a checkpoint may have any number of options",
        "train/options.py",
        "if len(resumed) > len(vars(o)) or sum(map(len, resumed)) > MOST_LETTERS:",
        "if False:",
    ),
    Bug(
        "latest needs a checkpoint",
        "checkpoint/saving.py",
        "        if not all(comm.everyone(there)):\n",
        "        if True:\n",
    ),
    Bug(
        "a run that finds all done fails",
        "train/run.py",
        'if not steps and o.resume != "latest" and steps.stop > 0:',
        "if not steps:",
    ),
]
RESULTS = [
    Bug(
        "a device is replaced by a file",
        "launch/files.py",
        "return stat.S_ISREG(mode)",
        "return True",
    ),
    Bug(
        "a link is replaced, not its target",
        "launch/files.py",
        "target = os.path.realpath(path)",
        "target = str(path)",
    ),
    Bug(
        "the new file has a name that anybody can foretell",
        "launch/files.py",
        'f".zero_ref-{owner}-{secrets.token_hex(8)}.part"',
        'f"{os.path.basename(target)}.part"',
    ),
    Bug("a new file may be a link or somebody's own", "launch/files.py", " | os.O_EXCL | NO_LINK", ""),
    Bug("a model is its owner's alone", "launch/files.py", "        give_mode(part, mode)\n", ""),
    Bug("a pipe that nobody reads is waited for", "launch/files.py", "os.O_APPEND | NO_WAIT", "os.O_APPEND"),
    Bug("a pipe is read as a file", "launch/files.py", "if not stat.S_ISREG(about.st_mode):", "if False:"),
    Bug(
        "the first result that fails takes the others with it",
        "launch/together.py",
        "            problems.append((error.code, str(error)))\n",
        "            raise\n",
    ),
    Bug(
        "output that cannot be printed is no failure",
        "launch/__init__.py",
        "        _drop_output()\n",
        "        return _drop_output()\n",
    ),
    Bug(
        "a letter that the terminal lacks stops the program",
        "launch/__init__.py",
        'shown.encode(encoding, "backslashreplace").decode(encoding)',
        "shown",
    ),
    Bug(
        "control characters reach the terminal",
        "launch/__init__.py",
        "return text if text.isprintable() else",
        "return text if True else",
    ),
    Bug("streams that are closed stay so", "launch/__init__.py", "    fill_closed_streams()\n", ""),
    Bug("an empty name is none", "launch/cli.py", 'if text == "":', "if False:"),
    Bug(
        "a name may be of any bytes", "launch/cli.py", "isinstance(text, str) and not is_utf8(text)", "False"
    ),
    Bug(
        "ranks may be started in any way",
        "launch/together.py",
        "        if len(ranks) > 1:\n",
        "        if False:\n",
    ),
    Bug("ranks may train on any data", "train/run.py", "    check_alike(world, contents)\n", ""),
]
PREDICTING = [
    Bug(
        "every rank keeps the whole unit that its shard is a view of",
        "predict.py",
        'comm.shard(u.initial("gathered"), u.layout).copy()',
        'comm.shard(u.initial("gathered"), u.layout)',
    ),
    Bug(
        "every rank computes the same batch",
        "predict.py",
        "x[starts[comm.rank] : starts[comm.rank + 1]]",
        "x[starts[0] : starts[1]]",
    ),
    Bug(
        "the batches are as long as the samples left",
        "predict.py",
        "min(first + r * batch_size, len(x)) for r",
        "first + (len(x) - first) * r // comm.size for r",
    ),
]
WRITING = [
    Bug(
        "all ranks end as soon as one of them has no sample left",
        "generate/sampling.py",
        "while comm.sum(sum(not sample.done for sample in mine)):",
        "while all(comm.everyone(any(not sample.done for sample in mine))):",
    ),
    Bug(
        "a sample's random numbers are those of its rank",
        "generate/sampling.py",
        "np.random.default_rng([how.seed, number])",
        "np.random.default_rng([how.seed, comm.rank])",
    ),
    Bug(
        "a window keeps the beginning of a long text",
        "generate/sampling.py",
        "sample.ids[-task.features :]",
        "sample.ids[: task.features]",
    ),
    Bug(
        "the outputs are multiplied by the temperature",
        "generate/sampling.py",
        ") / temperature",
        ") * temperature",
    ),
    Bug(
        "the least likely tokens are drawn from",
        "generate/sampling.py",
        'np.argsort(-logits, kind="stable")[:top_k]',
        'np.argsort(logits, kind="stable")[:top_k]',
    ),
    Bug(
        "what is written may be the token for all others",
        "generate/sampling.py",
        "known = logits[: len(task.alphabet)]",
        "known = logits",
    ),
    Bug(
        "two units are gathered at a time",
        "generate/sampling.py",
        "        del param  # or two units would be here at once\n",
        "",
    ),
    Bug(
        "batches of a text come in the order of the ranks",
        "predict.py",
        "    return ordered\n",
        "    return result\n",
    ),
    Bug(
        "the shorter window at the end is left out",
        "predict.py",
        "last = len(ids) - 1\n",
        "last = max(len(ids) - 1 - (len(ids) - 1) % context, 1)\n",
    ),
]
LOOKS = [
    Bug(
        "what is tested on the way is counted",
        "train/held_out.py",
        "        with ledger.set_aside():\n",
        "        if True:\n",
    ),
    Bug(
        "the best is the last that was looked at",
        "train/held_out.py",
        "if loss is not None and loss < (self.best or [math.inf])[0]:",
        "if loss is not None:",
    ),
    Bug(
        "a resumed run knows no best",
        "train/held_out.py",
        "next((tuple(found) for found in run.world.everyone(ours) if found), None)",
        "None if run.world.everyone(ours) else None",
    ),
    Bug(
        "the best lies where --keep deletes",
        "checkpoint/__init__.py",
        'BEST = "best"',
        'BEST = "."',
    ),
    Bug(
        "the best before stays beside the new one",
        "checkpoint/best.py",
        "    on_rank_0(run.world, lambda: drop_others(True))\n",
        "",
    ),
]
FAULTS = [
    Bug(
        "the watchdog looks at a rank that goes on",
        "train/watch.py",
        "goes_on = self.calls != seen",
        "goes_on = False",
    ),
    Bug(
        "the watchdog has patience without end",
        "train/watch.py",
        "number > 0 and not patient and now - since > self.timeout",
        "False",
    ),
    Bug(
        "the watchdog has no patience",
        "train/watch.py",
        "number > 0 and not patient and now - since > self.timeout",
        "number > 0",
    ),
    Bug(
        "a note that is half written is believed",
        "train/watch.py",
        "if zlib.crc32(note[: HEAD.size + length]) == int.from_bytes(check):",
        "if True:",
    ),
    Bug(
        "a slow disk is taken for a missing rank", "train/watch.py", "patient=Patience.now)", "patient=False)"
    ),
    Bug(
        "nobody is told of a slow disk",
        "train/watch.py",
        "if Patience.now and now - since > told * self.timeout:",
        "if False:",
    ),
    Bug(
        "who has not come to saving is waited for as patiently as a disk",
        "launch/together.py",
        "    comm.everyone(None)\n    try:",
        "    Patience.now = True\n    try:",
    ),
    Bug(
        "patience has no end",
        "launch/together.py",
        "    Patience.now = False\n    if problems",
        "    if problems",
    ),
    Bug(
        "a checkpoint that is not there is not answered with those that are",
        "checkpoint/__init__.py",
        "{what}{beside(Path(path))}",
        "{what}",
    ),
    Bug("the working folder may be gone", "launch/__init__.py", "        _check_folder()\n", ""),
    Bug("the check compares nothing", "train/watch.py", "if (all_ours != ours).any():", "if False:"),
    Bug(
        "the check compares lengths only",
        "train/watch.py",
        "of {layout.name}, {layout.padded:,} x",
        "of {layout.padded:,} x",
    ),
    Bug(
        "replicas of parameters are not compared",
        "train/replicas.py",
        'vectors = {"": u.param} if keeps["parameter"] == "all" else {}',
        "vectors = {}",
    ),
    Bug(
        "replicas of the optimizer's state are not compared",
        "train/replicas.py",
        'if keeps["optimizer"] == "all":',
        "if False:",
    ),
    Bug("the loss scale is not compared", "train/replicas.py", ', "the loss scale": guard.scale', ""),
    Bug(
        "the rank whose loss is not finite is not heard",
        "precision.py",
        "not all(math.isfinite(loss) for loss in self.losses)",
        "False",
    ),
]

PAGE = "report/page.py"
EVENTS = [
    Bug(
        "the map of traffic takes all numbers for as long as the parameters",
        "report/page.py",
        "nbytes * weight // sum(weights.values())",
        'weight * step["itemsize"] if name == "reduce_scatter" else nbytes * weight // sum(weights.values())',
    ),
    Bug(
        "the end of a collective has the bytes of all collectives so far",
        "train/events.py",
        "        self.begin(call.name, unit)\n        self.sent_by_call = 0\n",
        "        self.begin(call.name, unit)\n",
    ),
    Bug(
        "an array has no unit, wherever it is born",
        "train/events.py",
        "self.inside[-1] if self.inside else None",
        "None",
    ),
    Bug(
        "methods are not put back after the step",
        "train/events.py",
        "            delattr(owner, name)",
        "            pass",
    ),
    Bug(
        "a Comm goes on telling after the step",
        "train/events.py",
        "until_the_end.callback(each.observers.remove, self)",
        "until_the_end.callback(list, each.observers)",
    ),
    Bug(
        "the ledger goes on telling after the step",
        "train/events.py",
        "                ledger.events = None",
        "                pass",
    ),
    Bug(
        "nobody is told of an array's death",
        "ledger.py",
        "        if self.events is not None:\n            self.events.array",
        "        if self.events is not None and nbytes > 0:\n            self.events.array",
    ),
    Bug(
        "the first step is recorded",
        "train/events.py",
        "(steps[1:] or steps)",
        "steps",
    ),
    Bug(
        "a short step is recorded",
        "train/events.py",
        "max(later, key=",
        "min(later, key=",
    ),
    Bug(
        "neighbouring events are taken together over a peak",
        "report/thin.py",
        "cut = alive.index(max(alive)) + 1",
        "cut = len(part)",
    ),
    Bug(
        "a reduce-scatter sends everyone the sender's shard",
        PAGE,
        "return {first + other: count for other, count in enumerate(counts)}",
        "return {first + other: counts[place] for other in range(group)}",
    ),
    Bug(
        "the losses of a resumed run are compared from its beginning",
        "report/compare.py",
        '[max(0, first - r["first_step"]) :]',
        "[:]",
    ),
    Bug(
        "a name can end the script that it stands in",
        PAGE,
        'for character in "<>&\\u2028\\u2029":',
        'for character in "&\\u2028\\u2029":',
    ),
    Bug(
        "a trace's collectives have no end",
        "report/trace.py",
        'ended["dur"] = round(microseconds - ended["ts"], 1)',
        'ended["dur"] = microseconds',
    ),
    Bug(
        "each rank has a clock of its own",
        "train/events.py",
        "round(row[0] + 1e6 * (began - first), 1)",
        "round(row[0], 1)",
    ),
    Bug(
        "another host's clock was read when it was asked",
        "train/clocks.py",
        "theirs - (asked + answered) / 2",
        "asked - theirs",
    ),
    Bug(
        "a trace's arrows go to whoever came first",
        "report/meetings.py",
        "return max(self.begins",
        "return min(self.begins",
    ),
    Bug(
        "a Chinese character takes one column",
        "launch/terminal.py",
        "tabulate.MIN_PADDING = 0\n",
        "tabulate.MIN_PADDING = 0\ntabulate.WIDE_CHARS_MODE = False\n",
    ),
]

PAGES = [
    Bug(
        "equal hashes of runs that train other things are the same weights",
        "report/compare.py",
        "len(by_hash) == 1 and not what",
        "len(by_hash) == 1",
    ),
    Bug(
        "an option that decides weights is taken for one that does not",
        "report/compare.py",
        '(PASSING - {"init"})',
        '(PASSING | {"lr", "seed"})',
    ),
    Bug(
        "the cursors of runs go by the number of the event",
        "report/runs.js",
        "other.move(samePhase(each, other))",
        "other.move(each.position)",
    ),
    Bug(
        "a run without a phase stays at the beginning",
        "report/runs.js",
        "before(each))?.to ?? 0",
        "before(each))?.from ?? 0",
    ),
    Bug(
        "what is packed has units from the first one on",
        "report/packed.py",
        "first is None else unit - first",
        "first is None else unit",
    ),
    Bug(
        "ranks with the same places share their events",
        "report/page.py",
        'whole = [(rank["places"], short) for rank, short in zip(ranks, events)]',
        'whole = [(rank["places"], None) for rank, short in zip(ranks, events)]',
    ),
    Bug(
        "what lies outside the device is not kept",
        "report/theatre.py",
        'held["optimizer"] += away',
        'held["optimizer"] += 0',
    ),
    Bug(
        "around the ring every hop has the same piece",
        "report/travel.js",
        "% group) - hop + offset)",
        "% group) + offset)",
    ),
    Bug(
        "groups send to everyone",
        "report/travel.js",
        "if (!same(from, to, group) ||",
        "if (",
    ),
    Bug(
        "codes look like numbers",
        "report/travel.js",
        'coded ? " coded" : ""',
        '""',
    ),
    Bug(
        "shards of large runs are drawn one by one",
        "report/pictures.js",
        "column / pieces < NARROWEST_SHARD",
        "column / pieces < 0",
    ),
    Bug(
        "a dry run's scene looks like a run's",
        "report/scene.js",
        'if (view.run.origin === "dry") parts',
        "if (false) parts",
    ),
    Bug(
        "the most that a rank keeps is drawn on every rank",
        "report/figure.js",
        "placeOfShard([first, own], x, wide, wide / (padded || 1)) : [x, wide]",
        "[x, wide] : [x, wide]",
    ),
    Bug(
        "the first scene deals the model as one piece",
        "report/scene.js",
        "if (unit !== null || units.length > MOST_PARTS",
        "if (true || units.length > MOST_PARTS",
    ),
    Bug(
        "nobody sees that what was gathered is thrown away",
        "report/step.js",
        "|| isThrownAway(event) ? 1 : 0",
        "? 1 : 0",
    ),
    Bug(
        "the loss is no stop of the page",
        "report/step.js",
        "this.calls[at] !== this.calls[at - 1] || this.losses.has(at);",
        "this.calls[at] !== this.calls[at - 1];",
    ),
    Bug(
        "arrow keys go event by event, and with Shift from call to call",
        "report/page.js",
        "choose(event.shiftKey ?",
        "choose(!event.shiftKey ?",
    ),
    Bug("the space bar scrolls", "report/page.js", 'event.key === " " &&', "false &&"),
    Bug(
        "the theme button does what the system says",
        "report/page.js",
        'mediaText = dark ? "all" : "not all"',
        'mediaText = dark ? "(prefers-color-scheme: dark)" : "not all"',
    ),
    Bug(
        "collectives look alike under the memory",
        "report/pictures.js",
        "collective ? patternOf(travelling(view.run.keeps, name)) : {}",
        "{}",
    ),
    Bug(
        "the last step's loss is taken for the last epoch's",
        "report/page.js",
        "[run.loss[0][1], run.last_loss]",
        "[run.loss[0][1], run.loss.at(-1)[1]]",
    ),
    Bug(
        "a unit of the list is gone to in the forward pass",
        "report/theatre.js",
        "phase.name === now?.name && ",
        "",
    ),
    Bug("timelines on a phone are as high as elsewhere", "report/runs.js", "narrow ? 58 : 230", "230"),
    Bug(
        "a phase that is chosen loses the focus",
        "report/phases.js",
        "  if (focused) [...place",
        "  if (false) [...place",
    ),
    Bug("nobody sees which way it travels", "report/travel.js", '"marker-end": "url(#arrow)", ', ""),
    Bug(
        "a column of events is at its lowest",
        "report/pictures.js",
        "rank.total[position] > rank.total[last[1]]",
        "rank.total[position] < rank.total[last[1]]",
    ),
    Bug(
        "what stands at the peak's mark is not the peak",
        "report/pictures.js",
        "return atPeak ?",
        "return false ?",
    ),
    Bug(
        "gradients of other ranks look like parameters",
        "report/scene.js",
        'kind === "parameter" ? "gathered" : "full_gradient"',
        '"gathered"',
    ),
    Bug(
        "the peak does not say that it is one",
        "report/step.js",
        "view.position === view.rank.peakAt",
        "false",
    ),
    Bug(
        "keys move pictures that nobody sees",
        "report/page.js",
        '(leader && isInSight(find("runs-memory")))',
        "leader",
    ),
    Bug(
        "the run that keeps most is told as that which keeps least",
        "report/runs.js",
        "each.against.kept < best.against.kept",
        "each.against.kept > best.against.kept",
    ),
    Bug(
        "runs are called by all their folders",
        "report/page.py",
        '"/".join(parts[name][common:])',
        "name",
    ),
    Bug(
        "transfer looks like waiting",
        "report/lanes.js",
        "box(starts, end, lookOf(name))",
        'box(starts, end, "spent-waiting")',
    ),
    Bug(
        "what goes between groups looks like what stays in one",
        "report/lanes.js",
        'BETWEEN.includes(name) ? "between"',
        'BETWEEN.includes(name) ? "inside"',
    ),
    Bug(
        "the figure says that stage 0 gathers parameters",
        "report/pictures.js",
        'run.keeps.optimizer === "all" ? "gradient" : "parameter"',
        '"parameter"',
    ),
    Bug(
        "a bar of the figure begins anew with every part",
        "report/figure.js",
        "    left += reach;\n",
        "",
    ),
    Bug(
        "what is started ahead is not seen under way",
        "report/lanes.js",
        'if (name.startsWith("start_"))',
        'if (name.startsWith("begin_"))',
    ),
]

ON_A_GPU = [
    Bug(
        "a piece leaves before its unit has computed it",
        "extras/staging.py",
        "self.down.wait_event(computing.record())",
        "computing.record()",
    ),
    Bug(
        "MPI sends a piece that is still on its way down",
        "extras/staging.py",
        "self.leaving[number % 2].event.synchronize()  #",
        "pass  #",
    ),
    Bug(
        "a piece is added up before it is up",
        "extras/staging.py",
        "            computing.wait_event(self.coming[number % 2].event)\n",
        "",
    ),
    Bug(
        "a piece overwrites the one that is being added up",
        "extras/staging.py",
        "            self.up.wait_event(computing.record())  # then the next piece may lie in `parts`\n",
        "",
    ),
    Bug(
        "MPI receives into pinned memory from which a piece is still going up",
        "extras/staging.py",
        "        self.event.synchronize()\n",
        "",
    ),
    Bug(
        "an all-gather sends a shard that is not in its place yet",
        "extras/staging.py",
        "comm.down.wait_event(cuda().get_current_stream().record())",
        "pass",
    ),
    Bug(
        "an all-gather is over before its last piece is up",
        "extras/staging.py",
        "            cuda().get_current_stream().wait_event(comm.up.record())\n",
        "            pass\n",
    ),
    Bug(
        "a gathered unit is kept by the call that gathered it",
        "extras/staging.py",
        "        self.wire = None  # it belongs to whoever asked for it\n",
        "",
    ),
    Bug(
        "Adam's kernel divides before it adds epsilon",
        "extras/rules.py",
        "p = p - m / (sqrt(v) + eps) * rate",
        "p = p - m / sqrt(v) * rate",
    ),
    Bug(
        "SGD's kernel forgets the scale of the gradient",
        "extras/kernels.py",
        '"T g = T(grad) * scale"',
        '"T g = T(grad) * (0 * scale + 1)"',
    ),
    Bug(
        "squares are added in the gradient's type",
        "extras/kernels.py",
        '"double(in0) * double(in0)"',
        '"in0 * in0"',
    ),
    Bug(
        "a GPU-aware MPI is called before the GPU has finished",
        "array.py",
        "        move(target, source)\n    finish()\n",
        "        move(target, source)\n",
    ),
]
NCCL = [
    Bug(
        "an all-gather beside begins before its shard is written",
        "extras/nccl.py",
        "        self.beside.wait_event(cuda().get_current_stream().record())\n",
        "",
    ),
    Bug(
        "a unit computes before its all-gather beside is done",
        "extras/nccl.py",
        "        cuda().get_current_stream().wait_event(self.done)\n",
        "        pass\n",
    ),
    Bug(
        "uneven shards are reduced as even ones",
        "extras/nccl.py",
        "if self.ordered or len(set(layout.counts)) > 1:",
        "if self.ordered:",
    ),
    Bug(
        "NCCL rounds 16-bit numbers at every hop",
        "train/choose.py",
        "return NcclComm(mpi, ordered)",
        'return NcclComm(mpi, o.reduce == "ordered")',
    ),
]

SEAMS = [
    Bug(
        "an optimizer without a faster version has none at all",
        "train/choose.py",
        "return fast.get(kind, kind)",
        "return fast[kind]",
    ),
    Bug(
        "the defaults of an optimizer are Adam's",
        "optim.py",
        "found = inspect.signature(kind).parameters",
        "found = inspect.signature(Adam).parameters",
    ),
    Bug(
        "stage 2 says that it keeps the whole gradient",
        ZERO2,
        '"gradient": "1/N"',
        '"gradient": "all"',
    ),
    Bug(
        "the wire of a Comm is as long as the vector",
        "comm.py",
        "self.wire_layout = comm.wire_layout(layout)",
        "self.wire_layout = layout",
    ),
    Bug(
        "what a Comm says that it has sent is not booked",
        "comm.py",
        '        ledger.count_sent("all_gather", sent)\n',
        '        ledger.count_sent("all_gather", self.comm._to_each_other(full, self.layout))\n',
    ),
    Bug(
        "observers are told in the order of before when it is over",
        "comm.py",
        "for observer in reversed(self.observers)",
        "for observer in self.observers",
    ),
    Bug(
        "a rule from outside is taken for equal slices",
        "layout.py",
        "        elif deal is None:\n",
        '        elif rule not in ("random", "hash"):\n',
    ),
    Bug(
        "a checkpoint knows the vectors of our own optimizers only",
        "checkpoint/__init__.py",
        "Vector = str  #",
        'Vector = Literal["param", "master", "m", "v", "velocity"]  #',
    ),
]

STARTS = [
    Bug(
        "mpi4py starts MPI, and no thread runs meanwhile",
        "launch/start.py",
        "    init(None, None, mpi.THREAD_MULTIPLE, ctypes.byref(ctypes.c_int()))",
        "    mpi.Init_thread()",
    ),
    Bug("MPI's errors are no exceptions", "launch/start.py", "in (mpi.COMM_WORLD, mpi.COMM_SELF)", "in ()"),
    Bug(
        "MPI is not ended",
        "launch/start.py",
        "mpi4py.rc.finalize = False, True",
        "mpi4py.rc.finalize = False, False",
    ),
    Bug("last words are not sent", "launch/start.py", "atexit.register(self.tell_others)", "pass"),
    Bug(
        "last words are not heard",
        "launch/start.py",
        "for s in (woken, post.inbox) if s]",
        "for s in (woken,)]",
    ),
    Bug("all ranks have the word", "launch/start.py", "    if word or not post.inbox:\n", "    if True:\n"),
    Bug("an interrupt is not heard", "launch/start.py", "if signal.SIGINT in told:", "if False:"),
    Bug(
        "the others are not ended",
        "launch/start.py",
        'os.write(int(os.environ["PMI_FD"]), f"cmd=abort exitcode={code}\\n".encode())',
        "pass",
    ),
    Bug("anybody may end a run", "launch/start.py", "and CREDENTIALS.unpack(data)[1] == os.getuid()", ""),
    Bug("a fork speaks for its rank", "launch/start.py", " or os.getpid() != self.owner:", ":"),
    Bug(
        "who waits is named as absent", "launch/start.py", '.name(rank, "/start"))', '.name(rank, "/begin"))'
    ),
    Bug(
        "predict's start has its own patience", "predict.py", "choose.connect(o.timeout)", "choose.connect()"
    ),
    Bug(
        "NCCL's start is in no collective",
        "extras/nccl.py",
        "        self.ordered = ordered\n",
        "        self.ordered = ordered\n        self.nccl\n",
    ),
]

INSTALL = [
    Bug(
        "a command is given its own name as an argument",
        "__main__.py",
        "    del sys.argv[0]\n",
        "",
    ),
    Bug(
        "the list of commands is in Chinese for everybody",
        "__main__.py",
        "texts[language == 'en']",
        "texts[0]",
    ),
    Bug(
        "every rank prints the list of commands",
        "__main__.py",
        "if launch.rank_by_launcher() == 0:",
        "if launch.size_by_launcher():",
    ),
    Bug(
        "a student's folder is found at its top alone",
        "learn/__init__.py",
        "(folder, *folder.parents)",
        "(folder,)",
    ),
]

LEFTOVERS = [
    Bug(
        "a run's shared memory keeps its name to the end",
        "launch/together.py",
        "    shared.drop_names()  # all have come\n",
        "",
    ),
    Bug(
        "who aborts leaves the name of the shared memory",
        "launch/__init__.py",
        "    shared.drop_names()\n    time.sleep(0.2)",
        "    time.sleep(0.2)",
    ),
    Bug(
        "the file that mpirun writes for its ranks stays",
        "launch/shared.py",
        "                    remove(path)\n",
        "                    pass\n",
    ),
    Bug(
        "a killed check leaves its shared memory",
        "../lessons/checker/ranks/__main__.py",
        "        launch.shared.drop_names()",
        "        pass",
    ),
    Bug(
        "a lesson leaves its shared memory",
        "../lessons/_lesson.py",
        "    launch.shared.drop_names()\n",
        "",
    ),
    Bug(
        "what another process has open or mapped is removed",
        "launch/leftovers.py",
        "        yield lease(file)\n",
        "        yield True\n",
    ),
    Bug(
        "what is just being made is removed",
        "launch/leftovers.py",
        "about.st_uid == os.getuid() and old",
        "about.st_uid == os.getuid()",
    ),
    Bug(
        "a folder in which somebody works is removed",
        "launch/leftovers.py",
        " and not any(inside)",
        "",
    ),
    Bug(
        "the half files of the living are removed",
        "launch/files.py",
        "            and str(start_of(int(found[2]))) != found[3]\n",
        "",
    ),
    Bug(
        "the half files of other machines are removed",
        "launch/files.py",
        "found[1] != this_machine() or ",
        "",
    ),
    Bug(
        "every rank says that there is little shared memory",
        "launch/__init__.py",
        ' and _number("MPI_LOCALRANKID", otherwise=0) == 0:',
        ":",
    ),
]

OWN = [
    Bug(
        "own rings are booked by the formula",
        "extras/own.py",
        'getattr(self.messages, "sent", None)',
        "None",
    ),
    Bug(
        "the watch looks at the variables of a step, which lives longer for it",
        "extras/own.py",
        "if each.f_code in CALLS_OF_MESSAGES:",
        'if isinstance(each.f_locals.get("self"), Messages):',
    ),
    Bug(
        "own stages are said to be equal if their losses are",
        "train/beside.py",
        "            if ours != right:\n",
        "            if False:\n",
    ),
    Bug(
        "a ring of somebody's own that waits is told by its collective alone",
        "train/watch.py",
        'return asked_in(frame) + (f"; it is at {inside}" if inside else "")',
        "return asked_in(frame)",
    ),
    Bug(
        "norms are not compared with the reference's",
        "train/beside.py",
        'for name in ("loss", "grad_norm"):',
        'for name in ("loss",):',
    ),
    Bug(
        "the only difference that counts is rank 0's",
        "train/beside.py",
        "for each in run.world.everyone(mine) if each]",
        "for each in run.world.everyone(mine)[:1] if each]",
    ),
    Bug(
        "bytes that are too many are celebrated",
        "train/beside.py",
        "    if sent != right:\n",
        "    if False:\n",
    ),
    Bug(
        "what a ring gives is made to fit",
        "extras/own.py",
        "if isinstance(found, np.ndarray) and (found.shape, found.dtype) == ((length,), dtype):",
        "if isinstance(found, np.ndarray):",
    ),
    Bug(
        "an exception is at the outermost of somebody's own lines",
        "extras/own.py",
        "zip(frames[::-1], lines[::-1])",
        "zip(frames, lines)",
    ),
    Bug(
        "a stub is at the first line of its function",
        "extras/own.py",
        "return first + node.lineno - 1",
        "return first",
    ),
]

CHECKER = [
    Bug(
        "an arrow leaves out the last element that it carries",
        "../lessons/checker/barcode.py",
        'f"x[{a}:{b}] = ',
        'f"x[{a}:{b - 1}] = ',
    ),
    Bug(
        "a code is its element's number, so that one element once is another twice",
        "../lessons/checker/barcode.py",
        "(1 << COUNTED + 3 * rank) + row[rank] for row in bits",
        "(1 << COUNTED + 3 * rank) + n + 1 for n, row in enumerate(bits)",
    ),
    Bug(
        "a picture shows the hang of another trial",
        "../lessons/checker/student/attempt.py",
        'return hang if hang and trial and hang["case"] == trial["number"] else None',
        "return hang if hang and trial else None",
    ),
    Bug(
        "what one rank alone keeps hides what stops the others",
        "../lessons/checker/stages/mistakes.py",
        "(wrong_cost(steps) if trials[-1].size > 1 else None)",
        "wrong_cost(steps)",
    ),
    Bug(
        "a rank that waits for one that loops is told in its place",
        "../lessons/checker/verdict.py",
        'item[1].get("waits", False), item',
        "item",
    ),
    Bug(
        "a late signal stops the job after the one it was meant for",
        "../lessons/checker/ranks/__main__.py",
        " or not talk._must_stop()",
        "",
    ),
    Bug(
        "what two ranks cannot tell apart is told as one mistake",
        "../lessons/checker/evidence.py",
        "    two = max(t.size for t in trials) == 2\n",
        "    two = False\n",
    ),
    Bug(
        "a small number beside barcodes is lost in rounding",
        "../lessons/checker/evidence.py",
        "return not (a == a.round()).all() or not (b == b.round()).all() or bool((a == b).all())",
        "return True",
    ),
    Bug(
        "a time that is up is told as a process that died",
        "../lessons/checker/verdict.py",
        "    if outcome.endless is not None:",
        "    if outcome.endless:",
    ),
    Bug(
        "whole parameters beside a shard's gradient: the gradient is blamed",
        "../lessons/checker/stages/log.py",
        " or (param.shape != grad.shape and grad.size == self.n)",
        "",
    ),
    Bug(
        "a block that is read once more is told as one that was never read",
        "../lessons/checks/19_offload.py",
        "read = self.holds.get(self.place(state)) == number",
        "read = False",
    ),
    Bug(
        "a note may need a rank that there is not",
        "../lessons/checker/ranks/board.py",
        "return dict(note) if fits(note, self.size) else {}",
        "return dict(note)",
    ),
    Bug(
        "a note that stays half written is waited for to the limit",
        "../lessons/checker/ranks/board.py",
        " or time.monotonic() - since > TORN",
        "",
    ),
    Bug(
        "the board may be a link to another file",
        "../lessons/checker/ranks/board.py",
        " | os.O_NOFOLLOW",
        "",
    ),
    Bug(
        "any process that a note names is interrupted",
        "../lessons/checker/ranks/runner.py",
        "if pid in ours or (pid and not HAS_PROC):",
        "if pid:",
    ),
    Bug(
        "a report without an end is kept for ever",
        "../lessons/checker/ranks/runner.py",
        "            if len(self.rest[rank]) > LONGEST:\n",
        "            if False:\n",
    ),
    Bug(
        "a trial that there is not is judged",
        "../lessons/checker/verdict.py",
        " if 0 <= c < len(cases)}",
        "}",
    ),
    Bug(
        "a folder is no module",
        "../lessons/checker/shadows.py",
        "    if os.path.isdir(path):\n",
        "    if os.path.isdir(path):\n        return False\n    if os.path.isdir(path):\n",
    ),
    Bug(
        "a check begins although a file is taken for a module",
        "../lessons/checker/student/attempt.py",
        "shadowed(job, *in_the_way[0]) if in_the_way else judged(job, limit)",
        "judged(job, limit)",
    ),
    Bug(
        "the doctor does not look for files that are taken for modules",
        "../lessons/checker/student/doctor.py",
        "    yield from about_shadows(shadows.find(shadows.places()))\n",
        "",
    ),
    Bug(
        "a check of what is not begun does not say where to write",
        "../lessons/checker/student/commands.py",
        'if diagnosis and diagnosis.key == "not_started":',
        "if False:",
    ),
    Bug(
        "a crash of MPI is taken for a library that is not there",
        "../lessons/checker/student/doctor_mpi.py",
        "    if name := crash(found):\n        return [about_crash(",
        "    if name := None:\n        return [about_crash(",
    ),
]

TERMINAL = [
    Bug(
        "a plan speaks as the environment does, whatever --language says",
        "plan/answer.py",
        "words_of(__package__, o.language)",
        "words_of(__package__)",
    ),
    Bug(
        "a line is as long as its words are",
        "launch/terminal.py",
        'return "\\n".join(part for line in text.split("\\n") for part in folded(line))',
        "return text",
    ),
    Bug("a line begins with a comma", "launch/terminal.py", "[{CLOSES}]*\\s*", "\\s*"),
    Bug("a number is parted from its unit", "launch/terminal.py", "]+{UNIT}|", "]+|"),
    Bug(
        "what follows a label begins below it",
        "launch/terminal.py",
        'lines.append(" " * indent)',
        'lines.append("")',
    ),
    Bug(
        "a path leaves its label alone",
        "launch/terminal.py",
        "wcwidth.width(lines[-1]) > indent and",
        "lines[-1].strip() and",
    ),
    Bug(
        "a table is as wide as its columns are",
        "launch/terminal.py",
        "<= columns() or parts < 2",
        "<= 1000 or parts < 2",
    ),
    Bug(
        "the other half of a table lacks what its rows begin with",
        "launch/terminal.py",
        "[*row[:keep], *row[a:b]]",
        "[*row[:1], *row[a:b]]",
    ),
    Bug(
        "a table is cut within a model",
        "launch/terminal.py",
        "keep + (parts + 1) // 2 * together",
        "(len(header) + keep) // 2",
    ),
    Bug("a wide terminal is filled", "launch/terminal.py", "min(120, max(80,", "min(400, max(80,"),
    Bug("a file is told as it was given", "launch/terminal.py", "path=os.path.abspath(path)", "path=path"),
    Bug(
        "the checkpoint does not hear --language",
        "checkpoint/__main__.py",
        'written({"export": o.file}, o.language)',
        'written({"export": o.file})',
    ),
    Bug(
        "the predictor does not hear --language",
        "predict.py",
        "written({kind: o.output}, o.language)",
        "written({kind: o.output})",
    ),
    Bug(
        "a page of records begins in the browser's language",
        "report/page.py",
        '"language": language or launch.language()',
        '"language": language',
    ),
    Bug(
        "the planner's page begins in the browser's language",
        "explore/__main__.py",
        "page(o.language or launch.language())",
        "page()",
    ),
]
UNITS = [
    Bug(
        "the values of a bucket begin with its last unit's",
        "extras/buckets.py",
        "        for u in units:\n            yield from",
        "        for u in reversed(units):\n            yield from",
    ),
    Bug(
        "what a bucket is made of is told from the last unit on",
        "extras/buckets.py",
        "whole.made_of = parts",
        "whole.made_of = parts[::-1]",
    ),
    Bug(
        "a bucket may be one unit too long",
        "extras/buckets.py",
        " + u.layout.elements <= elements",
        " <= elements",
    ),
    Bug(
        "a bucket takes all units that come after",
        "extras/buckets.py",
        "groups[-1].append(u)",
        "groups[0].append(u)",
    ),
    Bug(
        "a checkpoint has every slice of a bucket where it begins in the bucket",
        "checkpoint/originals.py",
        "yield of, low - begin + first, high - begin + first,",
        "yield of, low + first, high + first,",
    ),
    Bug(
        "a shard that is resumed is read from its beginning for every unit of a bucket",
        "checkpoint/originals.py",
        "place + low - start",
        "place",
    ),
]
IN_TILES = [
    Bug(
        "a tile's bias is added twice",
        "extras/tiles.py",
        "y[..., self.a : self.b] = part",
        'y[..., self.a : self.b] = part + self.layout.views(param)["bias"]',
    ),
    Bug(
        "a tile starts with the first elements of the bias",
        "extras/tiles.py",
        "(outputs * inputs + a, outputs * inputs + b)",
        "(outputs * inputs, outputs * inputs + b - a)",
    ),
    Bug(
        "the input's gradient is the first tile's",
        "extras/tiles.py",
        "            mine += so_far\n",
        "            pass\n",
    ),
    Bug(
        "a tile keeps its outputs beside the layer's",
        "extras/tiles.py",
        "        self.output.data = None  # it is in y, and no backward pass asks for it\n",
        "",
    ),
    Bug(
        "every layer is cut into as many tiles",
        "extras/tiles.py",
        "-(-whole.elements * number // longest)",
        "number",
    ),
    Bug(
        "an exported layer is its last tile's",
        "checkpoint/weights.py",
        "            if of.name not in begun:\n",
        "            if True:\n",
    ),
]
MUON = [
    Bug(
        "a slice of a matrix is made orthogonal where the whole one has to be",
        "extras/muon.py",
        "        whole = comm.all_gather(shard, layout)\n",
        "        whole = comm.all_gather(shard, layout)\n        whole[layout.counts[0] :] = 0\n",
    ),
    Bug(
        "the momentum is made orthogonal in place, and so remembered",
        "extras/muon.py",
        "turn(g, self.share.shapes)",
        "turn(self.velocity, self.share.shapes)\n            g[...] = self.velocity",
    ),
    Bug(
        "Muon's momentum is not Nesterov's",
        "extras/muon.py",
        "        g += self.momentum * self.velocity\n",
        "",
    ),
    Bug(
        "a tall matrix is multiplied on its long side, at another cost",
        "extras/muon.py",
        "tall = m.shape[0] > m.shape[1]",
        "tall = False",
    ),
    Bug(
        "the step of a matrix has the length of its short side", "extras/muon.py", "max(shape)", "min(shape)"
    ),
    Bug(
        "Muon's own weights do not decay",
        "extras/muon.py",
        "        values *= 1 - self.lr * self.weight_decay\n",
        "",
    ),
    Bug("embeddings are matrices, too", "extras/tensors.py", '"wte.weight", "wpe.weight"', '""'),
    Bug("the last layer is a hidden one", "extras/tensors.py", "originals(units)[-1]", "originals(units)[0]"),
    Bug(
        "AdamW of the others does not hear the rate",
        "extras/muon.py",
        "self.others.lr, self.others.steps =",
        "_, self.others.steps =",
    ),
    Bug(
        "AdamW's bias correction is a step behind",
        "extras/muon.py",
        "self.steps - 1",
        "max(self.steps - 2, 0)",
    ),
    Bug(
        "a resumed run has lost its momentum",
        "extras/muon.py",
        '        self.velocity[...] = taken(vectors["m"], self.share.hidden)\n',
        "",
    ),
    Bug(
        "the largest matrix is dealt last",
        "extras/tensors.py",
        "(-elements[name], name)",
        "(elements[name], name)",
    ),
    Bug(
        "the gaps are filled without a look at the matrices",
        "extras/tensors.py",
        "gaps(loads,",
        "gaps([0] * size,",
    ),
    Bug(
        "matrices are balanced unit by unit",
        "extras/tensors.py",
        "rank = loads.index(min(loads))",
        "rank = 0",
    ),
    Bug(
        "tensors come back to where they stand in rank order",
        "extras/tensors.py",
        "full[start:stop] = ranked[place : place + stop - start]",
        "full[place : place + stop - start] = ranked[place : place + stop - start]",
    ),
]
OVERLAP2, OVERLAP3 = (f"stages/zero{n}_overlap.py" for n in (2, 3))
KEEP, ONCE = (f"stages/zero3_{name}.py" for name in ("keep", "reduce_once"))
GOING = "            going = u, comm.start_reduce_scatter(grad, u.layout)\n"

VARIANTS = [
    Bug(
        "the gradient that is on its way after the last unit is never finished",
        OVERLAP2,
        "        arrive(going, comm)\n        loss += part\n",
        "        loss += part\n",
    ),
    Bug(
        "at stage 3 it is finished in the last micro-batch only",
        OVERLAP3,
        "        arrive(going, comm)\n        loss += part\n",
        "        loss += part\n    arrive(going, comm)\n",
    ),
    Bug(
        "every reduce-scatter is finished before the next unit computes: right, and nothing overlaps",
        OVERLAP2,
        GOING,
        "            arrive((u, comm.start_reduce_scatter(grad, u.layout)), comm)\n",
    ),
    Bug(
        "a reduce-scatter is started before the one before it is finished",
        OVERLAP3,
        "            arrive(going, comm)\n" + GOING,
        "            before, going = going, (u, comm.start_reduce_scatter(grad, u.layout))\n"
        "            arrive(before, comm)\n            del before\n",
    ),
    Bug(
        "the gradient that has been started stays until the next one is there",
        OVERLAP2,
        "            del grad  # or three units' whole gradients would be alive at once\n",
        "",
    ),
    Bug(
        "what travels has the memory of whoever began it, and is freed with it",
        "extras/overlap.py",
        "        UNDER_WAY.add(self)\n",
        "",
    ),
    Bug(
        "an all-gather that was begun is freed with the stage that failed",
        "comm.py",
        "        UNDER_WAY.add(gathering)\n",
        "",
    ),
    Bug(
        "what is finished is kept for ever",
        "extras/overlap.py",
        "        UNDER_WAY.discard(self)\n",
        "",
    ),
    Bug(
        "the whole gradient stays as long as the stage holds what it has finished",
        "extras/overlap.py",
        "        self.ranked = self.terms = self.requests = None  # the gradient",
        "        self.terms = self.requests = None  # the gradient",
    ),
    Bug(
        "my own part is added last, not in its place among the ranks",
        "extras/overlap.py",
        "        done = 0\n",
        "        self.terms.append(self.terms.pop(rank))\n        done = 0\n",
    ),
    Bug(
        "nobody waits: what has not come is added as it lies there",
        "extras/overlap.py",
        "        for request in self.requests:\n            request.Wait()\n",
        "        for request in self.requests[:1]:\n            request.Wait()\n",
    ),
    Bug(
        "a part of a bfloat16 gradient is summed in bfloat16",
        "extras/overlap.py",
        ', "float32", "buffer") if shard.itemsize == 2 else None',
        ', "float32", "buffer") if shard.itemsize == 1 else None',
    ),
    Bug(
        "with overlap the groups are not added up",
        "extras/overlap.py",
        "        self.sum_between_groups(shard, reducing.layout)\n",
        "",
    ),
    Bug(
        "the watchdog does not hear that a reduce-scatter begins",
        "extras/overlap.py",
        "    @observed\n    def start_reduce_scatter",
        "    def start_reduce_scatter",
    ),
    Bug(
        "the bill has one whole gradient with overlap, too",
        "plan/formulas.py",
        "zip(whole, [*travels[1:], 0])",
        "zip(whole, [0] * len(whole))",
    ),
    Bug(
        "the map of traffic deals a finished reduce-scatter out in equal parts",
        "report/page.py",
        'if name in ("reduce_scatter", "finish_reduce_scatter"):',
        'if name == "reduce_scatter":',
    ),
    Bug(
        "what was gathered in the first step is used for ever",
        KEEP,
        "            params.append(comm.all_gather(u.param, u.layout))\n",
        '            if not hasattr(u, "copy"):\n'
        "                u.copy = comm.all_gather(u.param, u.layout)\n"
        "            params.append(u.copy)\n",
    ),
    Bug(
        "what was gathered is kept after the backward pass, too",
        KEEP,
        "        for u in reversed(units):\n            g, grad = u.backward(params.pop(), g)\n",
        "        for u, param in zip(reversed(units), params[::-1]):\n"
        "            g, grad = u.backward(param, g)\n",
    ),
    Bug(
        "the backward pass gathers once more",
        KEEP,
        "u.backward(params.pop(), g)",
        "u.backward(comm.all_gather(u.param, u.layout), g)",
    ),
    Bug(
        "the bill of keeping gathers twice",
        "plan/formulas.py",
        '    gathers = 2 if gathered_until == "used" else 1\n',
        "    gathers = 2\n",
    ),
    Bug(
        "reduced once, the gradient of the step before is added once more",
        ONCE,
        "        u.grad.fill(0)\n",
        "",
    ),
    Bug(
        "each rank updates with its own samples' gradient",
        ONCE,
        "        u.optimizer.update(u.param, grad, scale)\n",
        "        u.optimizer.update(u.param, comm.shard(u.grad, u.layout), scale)\n",
    ),
    Bug(
        "reduced once, the optimizer has the state of the whole model",
        ONCE,
        'KEEPS = {"parameter": "1/N", "gradient": "all", "optimizer": "1/N"}',
        'KEEPS = {"parameter": "1/N", "gradient": "1/N", "optimizer": "1/N"}',
    ),
]

TEAMS = "extras/tensor_parallel.py"

TENSOR_PARALLEL = [
    Bug(
        "P_a keeps the part of another rank",
        TEAMS,
        "self.cut.slice_of(self.team.rank)]\n        self.input",
        "self.cut.slice_of(self.team.rank - self.team.size + 1)]\n        self.input",
    ),
    Bug(
        "P_a keeps a view of its part, and so all of the input",
        TEAMS,
        "part.copy()",
        "part.view()",
    ),
    Bug(
        "P_a gathers and keeps what it has gathered in the forward pass",
        TEAMS,
        "        self.input = Tensor(track(",
        "        self.whole = x\n        self.input = Tensor(track(",
    ),
    Bug(
        "the gradient of a pair's input is a rank's own, not the team's sum",
        TEAMS,
        "        team.sum_all(g.reshape(-1), team.cut(g.size))\n",
        "",
    ),
    Bug(
        "the gradient of a pair's output is summed, too",
        TEAMS,
        "g, 1)\n\n    return Tensor(x.data, (x,), backward)\n",
        "g, team.size)\n\n    return Tensor(x.data, (x,), backward)\n",
    ),
    Bug(
        "every rank of a team tells the loss",
        TEAMS,
        "        return g, loss if team.rank == 0 else 0.0\n",
        "        return g, loss\n",
    ),
    Bug(
        "the norm is that of one rank's parts",
        TEAMS,
        "        return self.world.sum(value)\n",
        "        return super().sum(value)\n",
    ),
    Bug(
        "every rank adds the bias of the output",
        TEAMS,
        " if rank == 0 else []\n",
        "\n",
    ),
    Bug(
        "the second layer of a pair is cut by rows of another rank",
        TEAMS,
        "                yield whole[name][:, a:b] if axis else whole[name][a:b]\n",
        "                yield np.roll(whole[name], 1, axis)[:, a:b] if axis else whole[name][a:b]\n",
    ),
    Bug(
        "what a team sends for its sums is counted without the all-gather",
        TEAMS,
        "sent + self._all_gather(vector, cut))",
        "max(sent, 0 * self._all_gather(vector, cut)))",
    ),
]
OFFLOADED = [
    Bug(
        "at the first step nothing is read: block 0's state is left in the memory of block 2",
        "extras/offload.py",
        "return turn, later(self.move, self.store.read, turn, block)",
        "nothing = lambda vector, place: None\n"
        "        return turn, later(self.move, self.store.read if self.steps else nothing, turn, block)",
    ),
    Bug(
        "the last block is not written back",
        "extras/storage.py",
        "        self._all_of(here, place, self.file.write)",
        "        if place:\n            self._all_of(here, place, self.file.write)",
    ),
    Bug(
        "what has changed in host memory is forgotten",
        "extras/storage.py",
        "        array.copy(self.whole(vector.dtype, place, vector.size), vector)",
        "        pass",
    ),
    Bug(
        "all ranks have one file",
        "extras/storage.py",
        'return tempfile.TemporaryFile(dir=folder, prefix="zero_ref-", buffering=0)',
        'open(f"{folder}/../state", "ab").close()\n    return open(f"{folder}/../state", "r+b", buffering=0)',
    ),
    Bug(
        "the file keeps its name",
        "extras/storage.py",
        'return tempfile.TemporaryFile(dir=folder, prefix="zero_ref-", buffering=0)',
        "return tempfile.NamedTemporaryFile(dir=folder, delete=False, buffering=0)",
    ),
    Bug(
        "an update of no elements is not counted, and ranks disagree on the number of updates",
        "extras/offload.py",
        "        if scale == 0:\n",
        "        if scale == 0 or self.n == 0:\n",
    ),
    Bug(
        "a block is updated as if it were the first update",
        "extras/offload.py",
        "turn.steps, turn.lr = self.steps, self.lr",
        "turn.lr = self.lr",
    ),
    Bug(
        "a schedule's rate does not reach the blocks",
        "extras/offload.py",
        "turn.steps, turn.lr = self.steps, self.lr",
        "turn.steps = self.steps",
    ),
    Bug(
        "every block has memory of its own",
        "extras/offload.py",
        "if i < 2 or size < BLOCK:",
        "if True:",
    ),
    Bug(
        "the recorder takes what is outside for memory of the device",
        "extras/offload.py",
        "[] if isinstance(u.optimizer, Offloaded) else list(u.optimizer.state().values())",
        "list(u.optimizer.state().values())",
    ),
    Bug(
        "the bill forgets the shorter rest",
        "plan/offload.py",
        "return min(n // block, 2) * block + n % block",
        "return min(n, 2 * block)",
    ),
    Bug(
        "what has died is still counted as lying outside",
        "ledger.py",
        "        weakref.finalize(owner, self.away.subtract, {tier: nbytes}).atexit = False\n",
        "",
    ),
    Bug(
        "--offload is saved with a checkpoint",
        "train/family.py",
        '"offload", "offload_shards", ',
        "",
    ),
]

READING = [
    Bug(
        "every rank tells the text of a lesson",
        "../lessons/reader/script.py",
        "if text and launch.rank_by_launcher() == 0:",
        "if text:",
    ),
    Bug(
        "a lesson waits for Enter where there is no terminal",
        "../lessons/reader/script.py",
        "launch.on_a_terminal(0) and launch.on_a_terminal(1)",
        "True",
    ),
    Bug(
        "what has run before the reading runs once more",
        "../lessons/reader/script.py",
        " >= frame.f_lineno:",
        " >= 0:",
    ),
    Bug(
        "a lesson of one process runs on every rank",
        "../lessons/_lesson.py",
        "    if launch.rank_by_launcher() > 0:\n        sys.exit()\n",
        "",
    ),
    Bug(
        "the answer is handed over before the exercise has passed",
        "../lessons/_lesson.py",
        """ or progress.records()[exercise]["passed"]):""",
        """ or exercise):""",
    ),
    Bug(
        "a cell's line does not say which rank has printed it",
        "../lessons/reader/ranks.py",
        'print(f"[rank {rank}] {line}")',
        "print(line)",
    ),
    Bug(
        "ranks that hang are not ended",
        "../lessons/reader/ranks.py",
        "        if stuck:\n            self.ranks.end()\n",
        "",
    ),
    Bug(
        "a rank lives on without its kernel",
        "../lessons/reader/rank.py",
        "        os._exit(1)",
        "        return",
    ),
    Bug(
        "a cell runs in names of its own",
        "../lessons/reader/rank.py",
        'f"<cell {number}>", module.__dict__)',
        'f"<cell {number}>", {})',
    ),
]

ZEROPP_BUGS = [
    Bug(
        "a scale is not sent",
        "extras/codes.py",
        "scale[...] = xp.where(finite, step, np.float32(np.nan))",
        "scale[...] = 1",
    ),
    Bug(
        "a number that is not finite is hidden by its code",
        "extras/codes.py",
        "xp.where(finite, step, np.float32(np.nan))",
        "xp.where(finite, step, np.float32(1))",
    ),
    Bug(
        "the halves of a byte change places",
        "extras/codes.py",
        "codes[...] = whole[0::2] & 15  # the even ones in the low half of a byte\n"
        "            codes[: n // 2] |= whole[1::2] << 4",
        "codes[...] = whole[0::2] << 4\n            codes[: n // 2] |= whole[1::2] & 15",
    ),
    Bug(
        "numbers are cut off, not rounded",
        "extras/codes.py",
        'codes.view("int8")[...] = xp.rint(numbers[:n], out=numbers[:n])',
        'codes.view("int8")[...] = numbers[:n]',
    ),
    Bug(
        "the second copy stays, and is stale in the next step",
        "extras/zeropp.py",
        "self.await_second_copy(self.start_second_copy(self.copies.pop(layout), layout), layout)",
        "self.await_second_copy(self.start_second_copy(self.copies[layout], layout), layout)",
    ),
    Bug(
        "with prefetch there is no second copy",
        "extras/zeropp.py",
        "return self.with_copy(super().finish_all_gather(gathering), layout)",
        "return super().finish_all_gather(gathering)",
    ),
    Bug(
        "the first hop sends what the second should: whole machines, not places",
        "extras/coded_sums.py",
        "for rank in range(place, self.size, self.near)]",
        "for rank in range(place * self.size // self.near, (place + 1) * self.size // self.near)]",
    ),
    Bug(
        "the second hop is left out",
        "extras/coded_sums.py",
        "return Hop(self, self.between, [[part] for part in sums], owed_to, layout).finish(between=True)[0]",
        "return own",
    ),
    Bug(
        "a rank's own part is added twice",
        "extras/coded_sums.py",
        "                if rank == 0:\n                    total[...] = term\n",
        "                if rank == 0:\n                    total[...] = term + own\n",
    ),
    Bug(
        "the owner of a shard computes with it as it is, the others with codes",
        "extras/zeropp.py",
        "        for rank in range(self.size):\n            self.weights.decode(",
        "        for rank in self.others:\n            self.weights.decode(",
    ),
    Bug(
        "rounded weights are exported",
        "extras/zeropp.py",
        "return stage.full_param(u, comm.exact)",
        "return stage.full_param(u, comm)",
    ),
    Bug(
        "the hop between machines is counted as if it stayed inside",
        "extras/coded_sums.py",
        "owed_to, layout).finish(between=True)[0]",
        "owed_to, layout).finish()[0]",
    ),
    Bug(
        "all that is gathered is counted as if it stayed inside",
        "extras/machines.py",
        "layout.counts[self.rank] * wire.itemsize * len(self.far))",
        "0)",
    ),
    Bug(
        "the formula forgets the scales",
        "plan/zeropp.py",
        "scales, codes = 4 * -(-n // int(block)), n",
        "scales, codes = 0 * -(-n // int(block)), n",
    ),
    Bug(
        "with overlap all that is reduced is counted as if it stayed inside",
        "extras/machines.py",
        "reducing.dtype.itemsize * sum(layout.counts[rank] for rank in self.far)",
        "0",
    ),
    Bug(
        "with --keep-after-forward the formula of codes gathers twice",
        "plan/zeropp.py",
        "    times = passes_of(keeps, micro_batches, gathered_until)",
        "    times = passes_of(keeps, micro_batches)",
    ),
]
FEEDBACK = [
    Bug("what is owed is taken away, not added", "extras/feedback.py", "wanted += owed", "wanted -= owed"),
    Bug("what is owed is never sent", "extras/feedback.py", "        wanted += owed\n", ""),
    Bug(
        "what has been sent is still owed",
        "extras/feedback.py",
        "owed *= self.beta",
        "owed *= 1",
    ),
    Bug(
        "the moving average is the other way round",
        "extras/feedback.py",
        "        wanted *= 1 - self.beta\n        owed *= self.beta\n",
        "        wanted *= self.beta\n        owed *= 1 - self.beta\n",
    ),
    Bug(
        "what one unit owes another one sends",
        "extras/feedback.py",
        "owed = self.owed[layout]",
        "owed = next((v for k, v in self.owed.items() if v.size == layout.padded), None)",
    ),
    Bug(
        "the neighbours' errors are taken for those of other machines",
        "extras/coded_sums.py",
        "[[owed[layout.slice_of(rank)]] for rank in owners]",
        "[[owed[layout.slice_of(self.rank)]] for rank in owners]",
    ),
    Bug(
        "what the second micro-batch of a step loses is forgotten",
        "extras/feedback.py",
        "        return owed\n\n    def encode",
        "        again = self.cleared.setdefault(str(layout), step - 1) == step\n"
        "        self.cleared[str(layout)] = step\n"
        "        return owed.copy() if again else owed\n\n    def encode",
    ),
    Bug(
        "every micro-batch of a step after a reset begins with nothing owed",
        "extras/feedback.py",
        " and self.cleared.get(layout) != step:",
        ":",
    ),
    Bug(
        "what is owed is never dropped",
        "extras/feedback.py",
        "            owed.fill(0)\n",
        "",
    ),
    Bug(
        "a number that is not finite is owed for ever",
        "extras/feedback.py",
        "        wanted[~xp.isfinite(wanted)] = 0  # of a step that diverges; it must not stay for ever\n",
        "",
    ),
    Bug(
        "what is owed is not taken up from a checkpoint",
        "checkpoint/owed.py",
        "        copy(feedback.owed[u.layout], found[u.layout.name])",
        "        found[u.layout.name]",
    ),
    Bug(
        "the ranks of the second group take up what the first owes",
        "checkpoint/owed.py",
        "owed_name(run.world.rank)",
        "owed_name(run.comm.rank)",
    ),
    Bug(
        "other ranks take up what belongs to others",
        "checkpoint/owed.py",
        "checkpoint.manifest.who_sends_what == who_sends_what(run)",
        "bool(checkpoint.manifest.owed)",
    ),
    Bug(
        "the formula forgets what is owed",
        "plan/zeropp.py",
        "OWED = 4 ",
        "OWED = 0 ",
    ),
    Bug(
        "of a sum over groups the code back to them loses what it loses",
        "extras/coded_groups.py",
        "            between.weights = Owing(between.gradients, self.feedback, owed[between.rank][0])\n",
        "",
    ),
    Bug(
        "between groups every rank owes what is rank 0's",
        "extras/coded_groups.py",
        "mine = self.feedback.of(layout, self.step)[layout.slice_of(self.rank)]",
        "mine = self.feedback.of(layout, self.step)[: shard.size]",
    ),
]
CODED_GROUPS = [
    Bug(
        "of groups with codes those that have added up take the sum, the others its code",
        "extras/coded_groups.py",
        "        between.all_gather(part, cut, out=shard)\n",
        "        between.all_gather(part, cut, out=shard)\n"
        "        shard[cut.slice_of(between.rank)] = part\n",
    ),
    Bug(
        "groups with codes are not added up",
        "extras/coded_groups.py",
        "        shard = self.inside.reduce_scatter(full, layout)\n"
        "        self.sum_between_groups(shard, layout)\n",
        "        shard = self.inside.reduce_scatter(full, layout)\n",
    ),
    Bug(
        "coded sums over groups are counted as if they stayed inside",
        "extras/coded_groups.py",
        "owed, cut).finish(between=True)[0]",
        "owed, cut).finish()[0]",
    ),
    Bug(
        "groups export rounded weights",
        "extras/coded_groups.py",
        "self.exact, self.feedback = self.inside.exact, self.inside.feedback",
        "self.exact, self.feedback = self.inside, self.inside.feedback",
    ),
    Bug(
        "the formula counts sums over groups in whole numbers",
        "plan/zeropp.py",
        '        over_groups |= {"reduce_scatter": reduces, "all_gather": gathers}\n',
        "        reduces + gathers\n",
    ),
    Bug(
        "Muon gathers what it makes orthogonal as codes",
        "extras/muon.py",
        'getattr(comm, "exact", comm)',
        "comm",
    ),
    Bug(
        "the formula lets Muon's gathers stay in the machine",
        "plan/muon.py",
        "(size - (machine or size))",
        "0",
    ),
]
EXPLORE = [
    Bug(
        "a rank sends to itself, too: N messages and not N - 1",
        "explore/formulas.js",
        "between: n * (psi / ranks) * (ranks - group),",
        "between: n * (psi / ranks) * (ranks - group + 1),",
    ),
    Bug(
        "a collective has N hops and not N - 1",
        "explore/formulas.js",
        "there = leg.ranks - 1;",
        "there = leg.ranks;",
    ),
    Bug(
        "units are not padded to a multiple of N",
        "explore/formulas.js",
        "Math.ceil(n / ranks) * ranks;",
        "n;",
    ),
    Bug(
        "embeddings are spread over the layers",
        "explore/formulas.js",
        "[[embeddings, Number(embeddings > 0)], ",
        "[",
    ),
    Bug(
        "logits are no activations",
        "explore/formulas.js",
        " + 4 * s.vocab)",
        ")",
    ),
    Bug(
        "what is looked up is multiplied with",
        "explore/formulas.js",
        "(s.psi - lookedUp(s))",
        "s.psi",
    ),
    Bug(
        "hpZ forgets its second copy",
        "explore/formulas.js",
        "    hpz.state.parameter += e * (psi / group);\n",
        "",
    ),
    Bug(
        "every stage gathers codes",
        "explore/formulas.js",
        "gathers && s.weights",
        "s.weights",
    ),
    Bug(
        "codes have no scales",
        "explore/formulas.js",
        "Math.ceil((scales + codes) / 4) * 4",
        "codes",
    ),
    Bug(
        "codes go to the whole machine and between machines as if each were all ranks",
        "explore/formulas.js",
        "inside: each * (ranks - groups)",
        "inside: each * (ranks - 1)",
    ),
    Bug(
        "codes go around a ring",
        "explore/formulas.js",
        "ring: s.ring && !s.weights && !s.gradients",
        "ring: s.ring",
    ),
    Bug(
        "around a ring a machine sends from every rank",
        "explore/formulas.js",
        "(leg.inside && leg.between ? leg.inside + leg.between :",
        "(leg.inside && leg.between ? near * (leg.inside + leg.between) :",
    ),
    Bug(
        "every hop of what leaves a machine is between machines",
        "explore/formulas.js",
        "leg.inside ? near - 1 : 0;",
        "0;",
    ),
    Bug(
        "a ring is as fast as its fastest link",
        "explore/formulas.js",
        "Math.min(rates.bandwidth, together)",
        "Math.max(rates.bandwidth, together)",
    ),
    Bug(
        "a slider has steps that an arrow key does not leave",
        "explore/settings.js",
        "x.toPrecision(3)",
        "x.toPrecision(2)",
    ),
    Bug(
        "the state that lies outside is read and never written",
        "explore/formulas.js",
        "made.moved = 2 * state.optimizer",
        "made.moved = state.optimizer",
    ),
    Bug(
        "one block of state comes back at a time",
        "explore/formulas.js",
        "Math.min(Math.floor(n / BLOCK), 2)",
        "Math.min(Math.floor(n / BLOCK), 1)",
    ),
    Bug(
        "a bucket may be one unit too long",
        "explore/formulas.js",
        "bucket && bucket + elements <= most",
        "bucket && bucket <= most",
    ),
    Bug(
        "the activations of all ranks are on each",
        "explore/formulas.js",
        "const samples = Math.ceil(s.batch / (ranks * k));",
        "const samples = Math.ceil(s.batch / k);",
    ),
    Bug(
        "recomputation costs nothing",
        "explore/formulas.js",
        "(s.shape && s.again ? 8 : 6)",
        "(s.shape && s.again ? 6 : 6)",
    ),
    Bug(
        "what could fit is said to fit",
        "explore/formulas.js",
        "if (of(i * each).fits) return i * each;",
        "return i * each;",
    ),
    Bug(
        "the largest model is that of one rank",
        "explore/formulas.js",
        "? group : s.n, bytesOf(s))",
        "? group : 1, bytesOf(s))",
    ),
    Bug(
        "results of an earlier setting stay beside what is wrong",
        "explore/explore.js",
        "place.hidden = wrong.size > 0",
        "place.hidden = false",
    ),
    Bug(
        "on a phone all panels stand over the pictures",
        "explore/explore.js",
        '$(narrow.matches ? "results" : "machine")',
        '$("machine")',
    ),
    Bug(
        "a field leaves the window when what is typed is wrong",
        "explore/explore.css",
        ".shown[hidden] { visibility: hidden; }",
        ".shown[hidden] { display: none; }",
    ),
    Bug(
        "a label may lie on a curve",
        "explore/pictures.js",
        "const taken = rows.flatMap(",
        "const taken = rows.slice(4).flatMap(",
    ),
    Bug(
        "a page in the dark has the colors of the light",
        "explore/palette.py",
        '"page.css"))[:2]',
        '"page.css"))[1::-1]',
    ),
    Bug(
        "an address is believed in what every object has",
        "explore/settings.js",
        "Object.hasOwn(WORDS, text)",
        "text in WORDS",
    ),
]

GROUPS = {
    "variants": VARIANTS,
    "tensor parallel": TENSOR_PARALLEL,
    "install": INSTALL,
    "seams": SEAMS,
    "stage 0": STAGE_0,
    "stage 1": STAGE_1,
    "stage 2": STAGE_2,
    "stage 3": STAGE_3,
    "clipping": CLIPPING,
    "optimizer": OPTIMIZERS,
    "extremes": EXTREMES,
    "bits": BITS,
    "prefetch": PREFETCH,
    "collectives": COLLECTIVES,
    "layout": LAYOUT,
    "data": DATA,
    "tables": TABLES,
    "gradients": GRADIENTS,
    "command": COMMAND,
    "bytes": BYTES,
    "predictions": BILLS_AND_DRY_RUNS,
    "precision": PRECISION,
    "accumulate": ACCUMULATE,
    "recompute": RECOMPUTE,
    "schedule": SCHEDULE,
    "groups": BETWEEN,
    "offload": OFFLOADED,
    "ZeRO++": ZEROPP_BUGS,
    "feedback": FEEDBACK,
    "coded groups": CODED_GROUPS,
    "units": UNITS,
    "tiles": IN_TILES,
    "muon": MUON,
    "plans": PLANS,
    "ways": WAYS,
    "checkpoints": CHECKPOINTS,
    "results": RESULTS,
    "predicting": PREDICTING,
    "writing": WRITING,
    "looks": LOOKS,
    "faults": FAULTS,
    "starts": STARTS,
    "events": EVENTS,
    "pages": PAGES,
    "gpu": ON_A_GPU,
    "nccl": NCCL,
    "leftovers": LEFTOVERS,
    "own": OWN,
    "checker": CHECKER,
    "reading": READING,
    "terminal": TERMINAL,
    "explore": EXPLORE,
}
