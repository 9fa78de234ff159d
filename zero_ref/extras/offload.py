"""`--offload host|disk:DIR`: the optimizer's state lies outside the device, and comes there block by block.

Only an update touches the state, once a step, and an update of an element needs no other element. So the
device never needs all of it (ZeRO-Offload, arXiv 2101.06840; ZeRO-Infinity, arXiv 2104.07857):

                  at rest on the device    at most, in an update       outside     read, and written, a step
    in memory     K psi/N                  K psi/N                     0           0
    Offloaded     0                        K (2 blocks and the rest)   K psi/N     K psi/N each

K: bytes of state a parameter: 8 of Adam in float32, 12 with the master beside 16 bits. While one block
computes, a thread writes the one before, and reads the one after into the memory which that leaves. The
optimizer of a block is that of the options, and so the bits are those of the optimizer in memory.

ZeRO-Offload computes the update on the host. Here it is computed on the device, which has the gradient, as
ZeRO-Infinity does for what lies on a disk: 2K bytes a parameter travel, and not 4 in 16 bits.

`--offload-shards`, at stage 3: parameters and gradients lie outside, too, and are used where they are. At
rest the device then holds nothing of the model:

    each use of a shard goes through its mapping: 2k + 1 times the parameters, k + 3 times the gradients

with k micro-batches: 7 e psi/N bytes with k = 1 and numbers of e bytes. How much of that reaches the disk,
the system decides, which keeps in its memory what it has room for.
"""

import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from zero_ref import array
from zero_ref.array import Array
from zero_ref.extras.storage import forget_pages
from zero_ref.ledger import ledger
from zero_ref.model import Unit

BLOCK = 1 << 20  # elements: long enough for compiled loops (see compiled.py)

Store = Callable[[int], Any]  # bytes -> a store, see storage.py

worker = ThreadPoolExecutor(1)  # one thread: what is asked for is done in that order


def later(call: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Begin a call, which goes on beside what follows; what is returned waits for its result.

    On a GPU and without numbers it is made at once: of a GPU each thread has a stream of its own.
    """
    if array.on_gpu() or array.on_meta():
        result = call(*arguments)
        return lambda: result
    return worker.submit(call, *arguments).result


class Offloaded:
    """An optimizer for n elements whose state is in a store.

    make(n): any optimizer whose elements are independent. The store has one vector (n,) after another.
    State: that optimizer's, as arrays which show what is in the store.
    """

    def __init__(self, n: int, make: Callable[[int], Any], store: Store) -> None:
        self.n, self.make, self.steps = n, make, 0
        like = make(0)
        self.lr = like.lr
        self.types = {name: vector.dtype for name, vector in like.state().items()}
        *places, end = itertools.accumulate([n * t.itemsize for t in self.types.values()], initial=0)
        self.places = dict(zip(self.types, places))
        self.store = store(end)

    def state(self) -> dict[str, Array]:
        """The vectors (n,) that have to outlive a stop of the run, by name; `steps` has to, too."""
        return {name: self.store.whole(t, self.places[name], self.n) for name, t in self.types.items()}

    def update(self, param: Array, grad: Array, scale: float) -> None:
        """One step on `param` (n,) in place, with the gradient scale * `grad` (n,). None for scale 0."""
        if scale == 0:
            return
        blocks = [slice(start, min(start + BLOCK, self.n)) for start in range(0, self.n, BLOCK)]
        turns = self.turns(blocks)
        arriving = [self.begin_to_read(*turn) for turn in itertools.islice(turns, 2)]
        leaving: list[Callable[[], int]] = []
        for i, block in enumerate(blocks):
            turn, read = arriving[i]
            ledger.count_moved("read", read())
            turn.steps, turn.lr = self.steps, self.lr
            turn.update(param[block], grad[block], scale)
            leaving.append(later(self.move, self.store.write, turn, block))
            # The memory of this block is written before it is filled: the thread keeps the order.
            arriving += [self.begin_to_read(*turn) for turn in itertools.islice(turns, 1)]
        for written in leaving:
            ledger.count_moved("written", written())
        self.steps += 1

    def turns(self, blocks: Sequence[slice]) -> Iterator[tuple[Any, slice]]:
        """Each block with the optimizer that computes it: two take turns, and a shorter rest has its own."""
        two: list[Any] = [None, None]
        for i, block in enumerate(blocks):
            size = block.stop - block.start
            if i < 2 or size < BLOCK:
                two[i % 2] = self.make(size)
            yield two[i % 2], block

    def begin_to_read(self, turn: Any, block: slice) -> tuple[Any, Callable[[], int]]:
        """Begin to read a block of the state into its optimizer."""
        return turn, later(self.move, self.store.read, turn, block)

    def move(self, call: Callable[[Array, int], None], turn: Any, block: slice) -> int:
        """Read or write the state of one block; return its bytes."""
        for name, vector in turn.state().items():
            call(vector, self.places[name] + block.start * vector.itemsize)
        return sum(vector.nbytes for vector in turn.state().values())


class Outside:
    """An attribute of a unit: an array that is hung there is moved to a store, and used where that has it."""

    last: Any = staticmethod(lambda: None)  # a weak reference to the unit whose arrays were used before

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, unit: "ShardsOutside", value: Array) -> None:
        if value is unit.outside.get(self.name):  # u.grad += ... ends with u.grad = the same
            return
        store = unit.store(value.nbytes)
        there = store.whole(value.dtype, 0, value.size)
        there[...] = value
        unit.outside[self.name], unit.stores[self.name] = there, store

    def __get__(self, unit: "ShardsOutside", owner: type) -> Array:
        there = unit.outside[self.name]
        if (last := Outside.last()) is not unit:  # an update uses both arrays after both are asked for
            for before in last.outside.values() if last else ():
                forget_pages(before)
            Outside.last = weakref.ref(unit)
        ledger.count_moved("mapped", there.nbytes)
        return there


class ShardsOutside(Unit):
    """What `unit` is, but that its parameters and gradient, as far as they are this rank's, are in stores."""

    param = Outside()
    grad = Outside()

    def __init__(self, unit: Unit, store: Store) -> None:
        self.unit, self.store = unit, store
        self.outside: dict[str, Array] = {}
        self.stores: dict[str, Any] = {}
        super().__init__(unit.layout, unit.compute, unit.starting_values, unit.dtype, unit.first)

    def forward(self, param: Array, x: Array) -> Array:
        return self.unit.forward(param, x)

    def backward(self, param: Array, g: Array) -> tuple[Array, Array]:
        return self.unit.backward(param, g)

    def forget(self) -> None:
        self.unit.forget()


def kept_on_device(u: Unit, comm: Any) -> dict[str, list[Array]]:
    """What of a unit's parameters, gradient and optimizer state lies on the device between steps, by kind.

    comm: may remember what its codes have lost of the gradient (extras/feedback.py).
    """
    outside, feedback = isinstance(u, ShardsOutside), getattr(comm, "feedback", None)
    owed = [feedback.owed[u.layout]] if feedback else []
    return {
        "parameter": [] if outside else [u.param],
        "gradient": owed if outside else [u.grad, *owed],
        "optimizer": [] if isinstance(u.optimizer, Offloaded) else list(u.optimizer.state().values()),
    }
