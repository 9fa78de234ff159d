"""The models that bench.py measures, by name, and what each asks of zero_ref, of PyTorch and of the floor."""

import math
from dataclasses import dataclass
from itertools import pairwise

DATA = ["--test-fraction", "0", "--optimizer", "adam"]
Product = tuple[int, int, int]  # samples or tokens, inputs, outputs of a linear layer


@dataclass(frozen=True)
class Mlp:
    """Linear layers with ReLU between them, and classes."""

    widths: tuple[int, ...]
    batch: int  # samples of all ranks together
    steps: int

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.widths))}, batch {self.batch}"

    def options(self) -> list[str]:
        """Of zero_ref.train."""
        inputs, *hidden, classes = map(str, self.widths)
        data = ["--data", "synthetic", "--samples", str(4 * self.batch), *DATA]
        model = ["--features", inputs, "--classes", classes, "--hidden", ",".join(hidden)]
        return [*data, *model, "--batch-size", str(self.batch), "--steps", str(self.steps)]

    def parameters(self) -> int:
        return sum(math.prod(pair) + pair[1] for pair in pairwise(self.widths))

    def products(self, samples: int) -> list[Product]:
        """Of the linear layers, for one rank's samples."""
        return [(samples, *pair) for pair in pairwise(self.widths)]

    def attention(self, samples: int) -> tuple[int, int, int, int]:
        """None: no layer, heads, tokens or numbers of a head."""
        return (0, 0, 0, 0)


@dataclass(frozen=True)
class Gpt:
    """A GPT of --data persuasion: 75 symbols and one for all others."""

    layers: int
    width: int
    heads: int
    context: int
    batch: int  # windows of all ranks together
    steps: int
    symbols: int = 76

    def __str__(self) -> str:
        shape = f"{self.layers} x {self.width} wide, {self.heads} heads, context {self.context}"
        return f"GPT, {shape}, {self.batch} windows"

    def options(self) -> list[str]:
        """Of zero_ref.train."""
        named = {"layers": self.layers, "width": self.width, "heads": self.heads, "context": self.context}
        model = [f"--{name}={value}" for name, value in named.items()]
        return ["--model=gpt", *model, *DATA, "--batch-size", str(self.batch), "--steps", str(self.steps)]

    def parameters(self) -> int:
        w = self.width
        return self.layers * (12 * w * w + 13 * w) + 2 * w + (2 * self.symbols + self.context) * w

    def products(self, samples: int) -> list[Product]:
        """Of the linear layers, for one rank's windows."""
        tokens, w = samples * self.context, self.width
        block = [(tokens, w, 3 * w), (tokens, w, w), (tokens, w, 4 * w), (tokens, 4 * w, w)]
        return [*block * self.layers, (tokens, w, self.symbols)]

    def attention(self, samples: int) -> tuple[int, int, int, int]:
        """Layers, heads of all windows of a rank, tokens of a window, numbers of a head."""
        return self.layers, samples * self.heads, self.context, self.width // self.heads


SHAPES = {
    "W1": Mlp((784, 1024, 1024, 10), 256, 60),
    "W2": Mlp((2048,) * 9, 64, 8),
    "digits": Mlp((64, 128, 64, 10), 64, 600),
    "GPT": Gpt(6, 256, 8, 128, 16, 10),
    "G1": Mlp((4096,) * 9, 4096, 20),  # for a GPU
}
