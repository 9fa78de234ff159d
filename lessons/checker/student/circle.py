"""The picture of a hang: the ranks in a circle, and who waits for whom."""

import math
from collections.abc import Sequence

from lessons.checker.student.attempt import Data
from lessons.checker.student.markup import Texts, list_ranks, place_text, svg, table, words_at


def draw_circle(notes: Sequence[Data], texts: Texts) -> str:
    """The ranks in a circle, with an arrow to each that is waited for."""
    size, radius, middle = len(notes), 118, 180
    spots = [
        (
            middle + radius * math.sin(2 * math.pi * r / size),
            middle - radius * math.cos(2 * math.pi * r / size),
        )
        for r in range(size)
    ]
    drawn, sentences, rows = [], [], []
    for rank, note in enumerate(notes):
        gone = note["state"] == "left"
        for other in note["waits_for"]:
            drawn.append(
                waits_arrow(spots[rank], spots[other]) if other != rank else waits_for_itself(*spots[rank])
            )
        does = texts.raw("returned") if gone else note["doing"]
        sentences.append(
            texts.say("rank_gone", rank=rank)
            if gone
            else texts.say("rank_waits", rank=rank, what=note["doing"], others=list_ranks(note["waits_for"]))
        )
        rows.append((rank, does, place_text(note["place"]), list_ranks(note["waits_for"])))
    for rank, (x, y) in enumerate(spots):
        gone = " left" if notes[rank]["state"] == "left" else ""
        drawn.append(f'<circle class="rank{gone}" cx="{x:.1f}" cy="{y:.1f}" r="32"/>')
        drawn.append(words_at(x, y + 5, f"rank {rank}", "strong"))
    head = texts.columns("rank", "does", "place", "waits_for")
    drawing = svg(2 * middle, max(y for _, y in spots) + 40, texts.say("waiting"), " ".join(sentences), drawn)
    return f"<figure>{drawing}</figure>\n" + texts.details(table(head, rows))


def waits_arrow(a: tuple[float, float], b: tuple[float, float]) -> str:
    """A bent arrow between two ranks of the circle, so that two that wait for each other have two."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = math.hypot(dx, dy)
    ux, uy = dx / length, dy / length
    bend = 18.0
    start = (a[0] + 36 * ux - 8 * uy, a[1] + 36 * uy + 8 * ux)
    end = (b[0] - 40 * ux - 8 * uy, b[1] - 40 * uy + 8 * ux)
    middle = ((a[0] + b[0]) / 2 - bend * uy, (a[1] + b[1]) / 2 + bend * ux)
    tx, ty = end[0] - middle[0], end[1] - middle[1]
    long = math.hypot(tx, ty)
    tx, ty = tx / long, ty / long
    corners = [
        (end[0] + 6 * tx, end[1] + 6 * ty),
        (end[0] - 6 * tx - 6 * ty, end[1] - 6 * ty + 6 * tx),
        (end[0] - 6 * tx + 6 * ty, end[1] - 6 * ty - 6 * tx),
    ]
    path = f"M{start[0]:.1f} {start[1]:.1f}Q{middle[0]:.1f} {middle[1]:.1f} {end[0]:.1f} {end[1]:.1f}"
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return f'<path class="waits" d="{path}"/><polygon class="waits-tip" points="{points}"/>'


def waits_for_itself(x: float, y: float) -> str:
    """A loop."""
    path = f'<path class="waits" d="M{x + 25:.1f} {y - 22:.1f}c60 -46 60 90 4 48"/>'
    return path + f'<path class="waits-tip" d="M{x + 22:.1f} {y + 20:.1f}l14 4l-12 9z"/>'
