"""What a terminal shows."""

import re
import unicodedata

from zero_ref.launch.singular import NOUNS


def width(text: str) -> int:
    """Columns that `text` takes: two for a Chinese character."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


ONE = re.compile(rf"(?<![\d.,])1 (?:{'|'.join(NOUNS)})\b")  # what nothing says that is printed
