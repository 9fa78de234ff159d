"""A lesson's Markdown: paragraphs of one line each, and the same for a terminal."""

import re

from zero_ref.launch.terminal import WIDE, fold

MARKS = "，。；：！？、（）“”《》"
ASKS = ("先想一想", "Think first")  # a question to the reader, before what answers it is printed
# What begins a line of its own: a title, an item of a list, a row of a table.
BEGINS = re.compile(r"(#+ |- |\d+\. |\| )")


def joined(before: str, after: str) -> str:
    """Two lines of a paragraph as one. Chinese has spaces beside Latin words only."""
    left, right = before.rstrip("* ")[-1:], after.lstrip("* ")[:1]
    wide = [bool(re.match(f"[{WIDE}]", c)) for c in (left, right)]
    together = all(wide) or left in MARKS or right in MARKS
    return before + ("" if together else " ") + after


def paragraphs(text: str) -> list[str]:
    """Markdown with every paragraph, title and item in one line, however it is wrapped in the file; "" is a
    blank line. What stands between two lines ``` stays as it is."""
    lines: list[str] = []
    fenced, begins = False, True
    for line in text.strip("\n").split("\n"):
        if line.startswith("```"):
            fenced, begins = not fenced, True
            lines.append(line)
        elif fenced:
            lines.append(line)
        elif not line.strip():
            lines.append("")
            begins = True
        elif begins or BEGINS.match(line):
            lines.append(line.rstrip())
            begins = line.startswith("#")
        else:
            lines[-1] = joined(lines[-1], line.strip())
    return lines


def markdown(text: str) -> str:
    """The same for a notebook, which shows the end of a line as a space, in Chinese, too."""
    return "\n".join(paragraphs(text))


def plain(text: str, coloured: bool = False) -> str:
    """The same for a terminal: each line in as many as it is wide, titles in bold letters if coloured."""
    shown, fenced = [], False
    for line in paragraphs(text):
        if line.startswith("```"):
            fenced = not fenced
        elif fenced:
            shown.append(line)
        elif line.startswith("#"):
            title = fold(line.lstrip("# "))
            shown.append(f"\033[1;36m{title}\033[0m" if coloured else title)
        else:
            shown.append(fold(line.replace("**", "")))
    return "\n".join(shown)


def asks(text: str) -> bool:
    """Whether a text asks the reader to think before reading on."""
    return any(words in text for words in ASKS)
