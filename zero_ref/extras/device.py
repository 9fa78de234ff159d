"""What collectives between GPUs have in common: vectors leave from where they are, and Python does not wait.

A GPU does what it is asked for later. So a vector is put on its wire by asking for it, and whoever sends it
has to see to it that it is there by then.
"""

from zero_ref import array
from zero_ref.array import Array
from zero_ref.comm import OrderedComm
from zero_ref.layout import FlatLayout


class DeviceComm(OrderedComm):
    """Ranks with arrays on GPUs. The wire of a vector is the vector itself."""

    def wire_like(self, vector: Array, layout: FlatLayout) -> Array:
        """The vector itself."""
        return vector

    def encode(self, wire: Array, vector: Array) -> None:
        """Ask for a shard to be put in its place."""
        array.move(wire, vector)

    def decode(self, vector: Array, wire: Array, layout: FlatLayout) -> None:
        """Nothing is left to do: the wire is the vector."""
