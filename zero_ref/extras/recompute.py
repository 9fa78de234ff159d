"""`--recompute`: activations are dropped after the forward pass, and computed again in the backward pass.

Of sublinear memory cost by Chen et al. (arXiv 1604.06174, section 4): a unit keeps what it was given, and no
more. Its backward pass begins with its forward pass, for one more in a step of three.

             keeps from forward to backward              computes
    Unit     its input, its output and all between       forward, backward
    here     its input                                   forward, forward and backward

The parameters of the second forward pass are those that the backward pass was given: at stage 3 they are
gathered once for both, and 3 psi stays 3 psi. The arithmetic is that of the first, and so are the bits.
"""

from collections.abc import Sequence

from zero_ref.array import Array
from zero_ref.autograd import Tensor
from zero_ref.model import Unit


class Recompute(Unit):
    """What `unit` is, but that it forgets everything but its input until its backward pass."""

    def __init__(self, unit: Unit) -> None:
        super().__init__(unit.layout, unit.compute, unit.starting_values, unit.dtype, unit.first)
        self.unit = unit

    def forward(self, param: Array, x: Array) -> Array:
        """The unit's output for x (samples, ...), with parameters (padded,) that are not kept; x is."""
        y = self.unit.forward(param, x)
        self.unit.forget()
        self.input = Tensor(x)
        return y

    def backward(self, param: Array, g: Array) -> tuple[Array, Array]:
        """As Unit.backward, after the forward pass once more."""
        self.unit.forward(param, self.input.data)
        self.forget()  # the unit has the input now
        return self.unit.backward(param, g)


def recomputing(units: Sequence[Unit]) -> list[Unit]:
    """The units, of which all but the last recompute.

    The last one's backward pass follows its forward pass at once, so that nothing would be saved. It would
    even cost its output once more, as the stage still holds the first.
    """
    return [*map(Recompute, units[:-1]), *units[-1:]]
