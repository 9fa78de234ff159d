"""All ranks, and which of them share a machine: what is sent to others is counted apart (`--machine G`)."""

from collections.abc import Callable
from typing import Any

from zero_ref.array import Array
from zero_ref.comm import Comm
from zero_ref.extras.groups import part_of
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger


class Machines(Comm):
    """All ranks; `near` neighbours share a machine. The ledger is told what goes to other machines.

    exact: the ranks as they are without codes and copies; inside: those of this rank's machine; between:
    those that stand where it stands in theirs.
    """

    exact: Comm

    def on_machines(self, near: int, kind: Callable[[Any], Comm]) -> None:
        """Find the neighbours; all ranks call it together."""
        self.near, (self.machine, self.place) = near, divmod(self.rank, near)
        first = self.machine * near
        self.inside = kind(part_of(self.mpi, range(first, first + near)))
        self.between = kind(part_of(self.mpi, range(self.place, self.size, near)))
        self.far = [rank for rank in range(self.size) if rank // near != self.machine]

    def _reduce_scatter(self, send: Array, receive: Array, layout: FlatLayout) -> int:
        ledger.count_between("reduce_scatter", send.itemsize * sum(layout.counts[rank] for rank in self.far))
        return super()._reduce_scatter(send, receive, layout)

    def finish_reduce_scatter(self, reducing: Any) -> Array:
        """Of an OverlapComm, whose parts go straight to their owners."""
        layout = reducing.layout
        ledger.count_between(
            "reduce_scatter", reducing.dtype.itemsize * sum(layout.counts[rank] for rank in self.far)
        )
        return super().finish_reduce_scatter(reducing)  # type: ignore[misc]

    def _to_each_other(self, wire: Array, layout: FlatLayout) -> int:
        ledger.count_between("all_gather", layout.counts[self.rank] * wire.itemsize * len(self.far))
        return super()._to_each_other(wire, layout)
