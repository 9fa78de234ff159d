"""`--group` with codes: groups of ranks that gather and reduce in codes, and sum between groups in codes.

    --code-weights      a unit is gathered in its group as codes (qwZ)            z psi (G-1)/G a gather
    --code-gradients    1. inside   codes to the neighbours, summed               z psi (G-1)/G
                        2. between  codes of a part of the shard to its group     z (psi/G) (R-1)/R
                        3. between  the code of what my group has summed, back    z (psi/G) (R-1)/R

In 3 every group takes what comes back from the code, the one that has summed it, too: or the copies of a
shard would differ. So a number is rounded at most three times. What is exact is a rank's own part in 1 and 2.
"""

from collections.abc import Callable
from typing import Any

from zero_ref.array import Array
from zero_ref.comm import Comm
from zero_ref.extras.coded_sums import Hop
from zero_ref.extras.feedback import Owing
from zero_ref.extras.overlap import OverlapGroups
from zero_ref.layout import FlatLayout


class CodedGroups(OverlapGroups):
    """The ranks of one group, whose messages are codes.

    coded, across: make the Comm of a group, and of the ranks that have the same shard, from their
    communicator; where gradients are coded, `across` has machines of one rank, and their code for both ways.
    """

    inside: Any
    between: Any

    def __init__(
        self, group: int, coded: Callable[[Any], Comm], across: Callable[[Any], Comm], mpi: Any = None
    ) -> None:
        super().__init__(group, coded, mpi, across)
        self.exact, self.feedback = self.inside.exact, self.inside.feedback
        self.exact.observers = self.observers

    def reduce_scatter(self, full: Array, layout: FlatLayout) -> Array:
        """Sum `full` over the ranks of all groups; return this rank's shard of the sum."""
        self.inside.step = self.step
        shard = self.inside.reduce_scatter(full, layout)
        self.sum_between_groups(shard, layout)
        return shard

    def start_reduce_scatter(self, full: Array, layout: FlatLayout) -> Any:
        """Begin it, inside the group."""
        self.inside.step = self.step
        return self.inside.start_reduce_scatter(full, layout)

    def add_up_groups(self, shard: Array, layout: FlatLayout) -> None:
        """Steps 2 and 3 of above."""
        if not self.inside.gradients or self.between.size == 1:
            return super().add_up_groups(shard, layout)
        between, groups = self.between, range(self.between.size)
        cut = FlatLayout(layout.name, {"shard": shard.shape}, len(groups), shares=[1] * len(groups))
        parts = [[shard[cut.slice_of(each)]] for each in groups]
        between.feedback, between.weights, owed = self.feedback, between.gradients, None
        if self.feedback:  # of the own shard nothing is owed inside
            mine = self.feedback.of(layout, self.step)[layout.slice_of(self.rank)]
            owed = [[mine[cut.slice_of(each)]] for each in groups]
            between.weights = Owing(between.gradients, self.feedback, owed[between.rank][0])
        part = Hop(between, between, parts, owed, cut).finish(between=True)[0]
        between.all_gather(part, cut, out=shard)
