"""Text for a language model: characters are tokens, and a sample is a window of them.

The alphabet is that of the part to train on, and one token stands for every other character. The target of
each token is the one after it. What is held out is the end of the text: windows drawn from its middle would
be about the same page as their neighbours.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # how the token for every other character is shown
MOST_SYMBOLS = 1 << 16


@dataclass
class Windows:
    """Text as samples: x and y (windows, context), whole numbers, in the order of the text.

    alphabet: the characters of the tokens 0, 1, ...; the token after them is every other character.
    held_out: how many of the windows, the last ones, are not to train on. unigram: the mean loss over
    their tokens, in nats, of one who knows how often each character stands in the rest, and no more.
    """

    x: np.ndarray
    y: np.ndarray
    alphabet: str
    held_out: int
    unigram: float | None


def read(path: Path, limit: float) -> str:
    """The text of a file. ValueError if it is empty or not UTF-8, or has more than `limit` bytes."""
    size = path.stat().st_size
    if size > limit:
        raise ValueError(f"has {size:,} bytes, and --data-limit is {limit / 1e9:g} GB")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: byte {error.start:,} is {error.object[error.start]:#04x}") from None
    if not text:
        raise ValueError("is empty")
    return text.replace("\r\n", "\n")


def windows(text: str, context: int, test_fraction: float) -> Windows:
    """Consecutive windows of `context` tokens; what is left over at the end is left out.

    ValueError if there is no window to train on, or too many different characters.
    """
    number = (len(text) - 1) // context
    held_out = round(number * test_fraction)
    if number == held_out:
        raise ValueError(
            f"has {len(text):,} characters: of {number:,} windows of {context:,} and the next one "
            f"{held_out:,} are held out, and none is left to train on"
        )
    cut = (number - held_out) * context + 1  # the last target to train on is before it
    alphabet = "".join(sorted(set(text[:cut])))
    if len(alphabet) >= MOST_SYMBOLS:
        raise ValueError(f"has {len(alphabet):,} different characters, more than {MOST_SYMBOLS:,}")
    ids = encode(text[: number * context + 1], alphabet)
    x = ids[:-1].reshape(number, context)
    y = ids[1:].astype(np.int64).reshape(number, context)
    return Windows(x, y, alphabet, held_out, unigram(ids[:cut], ids[cut:], len(alphabet) + 1))


def encode(text: str, alphabet: str) -> np.ndarray:
    """The token of each character, int32 (len(text),); len(alphabet) for one that is not in it."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    known = np.frombuffer(alphabet.encode("utf-32-le", "surrogatepass"), np.uint32)  # in ascending order
    places = np.searchsorted(known, codes).astype(np.int32)
    found = known[np.minimum(places, len(known) - 1)] == codes
    return np.where(found, places, np.int32(len(known)))


def decode(ids: np.ndarray, alphabet: str) -> str:
    """The characters of tokens."""
    return "".join(alphabet[i] if i < len(alphabet) else UNKNOWN for i in ids)


def unigram(train: np.ndarray, test: np.ndarray, symbols: int) -> float | None:
    """Mean of -log of the share that each token of `test` has in `train`, where each is counted once more."""
    if not len(test):
        return None
    counts = np.bincount(train, minlength=symbols) + 1
    return float(-np.log(counts[test] / counts.sum()).mean())


def bits(nats: float) -> float:
    """The same number of bits."""
    return nats / math.log(2)
