"""What a terminal shows."""

import unicodedata


def width(text: str) -> int:
    """Columns that `text` takes: two for a Chinese character."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
