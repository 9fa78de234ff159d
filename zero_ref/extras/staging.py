"""Collectives for arrays on a GPU whose MPI takes host memory only (`--transport mpi`).

Vectors travel in pieces, and a piece goes three ways: down from the GPU, between the ranks, and up again.
Each way has its own wires, so they overlap: while MPI has one piece, the next is on its way down and the
one before on its way up. Sums are made on the GPU, in rank order: the bits of `--reduce ordered`.

A GPU does what it is asked for later, and each stream in its own time. Every wait for another stream, or
for Python, stands here as an event.
"""

from typing import Any

import numpy as np

from zero_ref.array import Array, cuda, pinned
from zero_ref.comm import PIECE, add_up, exchange
from zero_ref.extras.device import DeviceComm
from zero_ref.layout import FlatLayout


class Slot:
    """Pinned host memory for one piece of each other rank. event: a GPU's last use of it."""

    def __init__(self) -> None:
        self.memory = np.empty(0, np.uint8)
        self.event = cuda().Event(disable_timing=True)

    def like(self, parts: dict[int, Array]) -> dict[int, np.ndarray]:
        """Arrays of the sizes of `parts` in this memory, once the GPU no longer needs it."""
        self.event.synchronize()
        nbytes = sum(part.nbytes for part in parts.values())
        if nbytes > self.memory.size:
            self.memory = pinned(nbytes, "uint8")
        arrays, start = {}, 0
        for rank, part in parts.items():
            arrays[rank] = self.memory[start : start + part.nbytes].view(part.dtype)
            start += part.nbytes
        return arrays


class StagedComm(DeviceComm):
    """All ranks, each with arrays on a GPU; pieces of PIECE elements go through pinned memory."""

    def __init__(self, mpi: Any = None) -> None:
        super().__init__(mpi)
        # Streams that do not wait for the default one, on which everything is computed.
        self.down, self.up = (cuda().Stream(non_blocking=True) for _ in range(2))
        self.leaving, self.coming = ((Slot(), Slot()) for _ in range(2))

    def _reduce_scatter(self, send: Array, receive: Array, layout: FlatLayout) -> int:
        if self.size == 1:
            receive[...] = send
            return 0
        piece = min(max(layout.counts), PIECE)
        parts, total = self._scratch(send, piece)
        computing = cuda().get_current_stream()
        self.down.wait_event(computing.record())  # `send` is written by then; so nothing goes up before
        places = list(layout.pieces(piece))
        going = self._start_down(send, places, 0)
        done = 0
        for number, place in enumerate(places):
            leaves, going = going, self._start_down(send, places, number + 1)
            terms = self._terms(send[place[self.rank]], parts)
            self.leaving[number % 2].event.synchronize()  # this piece is down; the next one is on its way
            self._up(number, leaves, {rank: terms[rank] for rank in self.others})
            computing.wait_event(self.coming[number % 2].event)
            done = add_up(terms, receive, done, total)
            self.up.wait_event(computing.record())  # then the next piece may lie in `parts`
        return send.nbytes - receive.nbytes

    def _start_down(self, send: Array, places: list[list[slice]], number: int) -> dict[int, np.ndarray]:
        """Begin to copy piece `number` of all others' shards to host memory: where they will be, by rank."""
        if number == len(places):
            return {}
        slot, parts = self.leaving[number % 2], {rank: send[places[number][rank]] for rank in self.others}
        arrays = slot.like(parts)
        for rank, part in parts.items():
            part.get(stream=self.down, out=arrays[rank], blocking=False)
        slot.event.record(self.down)
        return arrays

    def _up(self, number: int, going: dict[int, np.ndarray], targets: dict[int, Array]) -> None:
        """Exchange piece `number`, and begin to copy what has come from rank r to targets[r], on the GPU."""
        slot = self.coming[number % 2]
        arrays = slot.like(targets)
        exchange(self.mpi, going, arrays)
        for rank, target in targets.items():
            target.set(arrays[rank], stream=self.up)
        slot.event.record(self.up)

    def _all_gather(self, wire: Array, layout: FlatLayout) -> int:
        request, sent = self._start_all_gather(wire, layout)
        request.Wait()
        return sent

    def _start_all_gather(self, wire: Array, layout: FlatLayout) -> tuple[Any, int]:
        return GatheringByPieces(self, wire, layout), self._to_each_other(wire, layout)


class GatheringByPieces:
    """An all-gather under way: this rank's shard goes down to host memory at once, the rest is in Wait().

    The shard is pinned as a whole meanwhile, and only pieces of everybody else's. What is computed
    between the two, the GPU does while the pieces travel.
    """

    def __init__(self, comm: StagedComm, wire: Array, layout: FlatLayout) -> None:
        self.comm = comm
        self.wire: Any = wire
        self.places = list(layout.pieces(PIECE)) if comm.size > 1 else []
        comm.down.wait_event(cuda().get_current_stream().record())  # the shard is in its place by then
        self.down = []  # each piece of the shard in host memory, and when it is there
        for place in self.places:
            part = wire[place[comm.rank]]
            leaves = pinned(part.shape, part.dtype)
            part.get(stream=comm.down, out=leaves, blocking=False)
            self.down.append((leaves, comm.down.record()))

    def Wait(self) -> None:
        """Exchange all pieces. What is computed from now on finds them in the vector."""
        comm, wire = self.comm, self.wire
        self.wire = None  # it belongs to whoever asked for it
        for number, (place, (leaves, is_down)) in enumerate(zip(self.places, self.down)):
            is_down.synchronize()
            going = {rank: leaves for rank in comm.others}
            comm._up(number, going, {rank: wire[place[rank]] for rank in comm.others})
        if self.places:
            cuda().get_current_stream().wait_event(comm.up.record())
