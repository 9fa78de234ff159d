"""Text from a language model of which every rank has a part: token by token, each drawn from its outputs.

Sample i belongs to rank i mod N, and every rank is needed for all of them: for each token the units are
gathered one after another, once for all samples of all ranks. So a rank whose samples have ended goes on
gathering until the last of them all has.

Each token computes its whole window again. A cache of keys and values (2 layers x context x width numbers
for each sample) would leave one token to compute in place of up to `context`. It would save none of the
bytes that are gathered, and be of no use once the window is full: then every token moves to another place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from zero_ref.array import Array, from_numpy, to_numpy
from zero_ref.comm import Comm
from zero_ref.data import Task
from zero_ref.datasets import texts
from zero_ref.launch import CleanEnd
from zero_ref.model import Unit

ParamOf = Callable[[Unit], Array]  # a unit -> its whole parameters, gathered if they are not here


class NoNumbers(CleanEnd):
    """The model's outputs are not numbers."""


@dataclass
class How:
    """How tokens are drawn.

    tokens: of each sample. temperature: what outputs are divided by, 0: always the most likely token. top_k:
    how many of the most likely are drawn from, None: all. seed: with a sample's number it makes its random
    numbers. stop: a sample ends before this text.
    """

    tokens: int = 200
    temperature: float = 0.8
    top_k: int | None = None
    seed: int = 0
    stop: str | None = None


@dataclass
class Sample:
    """A text as it grows. ids: its tokens, those of the prompt first; text: what is written after it."""

    ids: list[int]
    random: np.random.Generator
    text: str = ""
    written: int = 0
    done: bool = False

    def add(self, token: int, character: str, how: How) -> None:
        """One more token, unless it is the last."""
        self.ids.append(token)
        self.text += character
        self.written += 1
        self.done = self.written == how.tokens
        if how.stop and self.text.endswith(how.stop):
            self.text, self.done = self.text.removesuffix(how.stop), True


def generate(
    units: Sequence[Unit],
    param_of: ParamOf,
    comm: Comm,
    task: Task,
    how: How,
    prompt: str = "",
    samples: int = 1,
) -> list[str]:
    """What each sample goes on with after `prompt`, on every rank; all ranks must call it together.

    The text depends on no number of ranks: each sample is computed alone, and has its own random numbers.
    NoNumbers on all ranks if an output is none.
    """
    assert task.alphabet
    start, spoilt = first_ids(prompt, task.alphabet), 0
    mine = [
        Sample(list(start), np.random.default_rng([how.seed, number]))
        for number in range(comm.rank, samples, comm.size)
    ]
    while comm.sum(sum(not sample.done for sample in mine)):
        going = [sample for sample in mine if not sample.done]
        windows = [sample.ids[-task.features :] for sample in going]
        for sample, logits in zip(going, next_logits(units, param_of, windows)):
            known = logits[: len(task.alphabet)]  # the token for all others stands for no character
            if np.isnan(known).any():
                sample.done, spoilt = True, 1
                continue
            token = choose(known, how.temperature, how.top_k, sample.random)
            sample.add(token, task.alphabet[token], how)
    if comm.sum(spoilt):
        raise NoNumbers("the model's outputs are not numbers: it has diverged in training")
    found = comm.everyone([sample.text for sample in mine])
    return [found[number % comm.size][number // comm.size] for number in range(samples)]


def first_ids(prompt: str, alphabet: str) -> list[int]:
    """The tokens of a prompt; of an empty one a line's end, with which a text may begin anywhere."""
    if prompt:
        return texts.encode(prompt, alphabet).tolist()
    return [max(0, alphabet.find("\n"))]


def next_logits(units: Sequence[Unit], param_of: ParamOf, windows: list[list[int]]) -> list[np.ndarray]:
    """The outputs (symbols,), float64, for the token after each of this rank's windows; there may be none."""
    h = [from_numpy(np.array([window], np.int32), "activation") for window in windows]
    for u in units:
        if u is units[-1]:
            h = [x[:, -1:] for x in h]  # nobody asks for the tokens that are known
        param = param_of(u)
        for i, x in enumerate(h):
            h[i] = u.forward(param, x)
            u.forget()
        del param  # or two units would be here at once
    return [to_numpy(x)[0, -1].astype(np.float64) for x in h]


def choose(logits: np.ndarray, temperature: float, top_k: int | None, random: np.random.Generator) -> int:
    """A token, drawn with the probabilities softmax(logits / temperature) of the `top_k` most likely ones.

    logits (symbols,), float64, no NaN. Of equal ones the first is the more likely.
    """
    if temperature == 0:
        return int(logits.argmax())
    tokens = np.argsort(-logits, kind="stable")[:top_k]
    with np.errstate(over="ignore", invalid="ignore"):
        scores = (logits[tokens] - logits[tokens[0]]) / temperature
    odds = np.exp(np.nan_to_num(scores, nan=0.0, neginf=-np.inf)).cumsum()  # of this token or one before it
    return int(tokens[min(np.searchsorted(odds, random.random() * odds[-1], side="right"), len(tokens) - 1)])
