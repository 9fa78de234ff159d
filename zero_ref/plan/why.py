"""`--why`: why does a higher stage need more memory here? Numbers of peaks.py, in words and tables."""

import argparse
from collections.abc import Sequence

from zero_ref import model
from zero_ref.launch.terminal import fitting, fold
from zero_ref.ledger import KINDS
from zero_ref.plan.answer import words
from zero_ref.plan.peaks import Peak, law, law_of_groups, peak_of
from zero_ref.plan.ways import options_here, task_of
from zero_ref.train import choose

MOST_TILES = 33  # a layer is tried in fewer
SYMBOLS = {(0, 1): "-K (Ψ - Ψ/N)", (1, 2): "-e (Ψ - Ψ/N)", (2, 3): "e (Ψ_u + Ψ/N - Ψ)"}

GROUP_SYMBOLS = {1: "K", 2: "(K + e)", 3: "(K + 2e)"}


def peaks_of(o: argparse.Namespace, stages: Sequence[int] = range(4), **changed: int | None) -> list[Peak]:
    """The peak of each stage, where `changed` are other options."""
    other = argparse.Namespace(**vars(o) | changed)
    groups = {"group": other.group} if other.group else {}
    return [peak_of(options_here(other, stage, **groups), task_of(o), o.ranks) for stage in stages]


def why(o: argparse.Namespace) -> str:
    """The whole answer."""
    word, peaks = words(o), peaks_of(o)
    units = choose.units(options_here(o, 0), task_of(o), o.ranks)
    name = "gpt" if o.model == "transformer" else f"{o.model} {model.describe(units)}"
    head = word["why_head"].format(
        name=name, parameters=f"{sum(u.layout.elements for u in units):,}", units=len(units), ranks=o.ranks
    )
    if o.group:
        head += "\n" + word["why_groups"].format(group=o.group)
    parts = [head, at_the_peak(peaks, word), from_stage_to_stage(peaks, word)]
    parts += [beside_all_ranks(o, peaks, word)] if o.group else []
    parts.append(changes(o, peaks, word))
    return fold("\n\n".join(parts))


def at_the_peak(peaks: list[Peak], word: dict[str, str]) -> str:
    """What is alive when a stage needs most, and where in its file that is."""
    shown = [kind for kind in KINDS if any(peak.live[kind] for peak in peaks)]
    rows = [
        [str(peak.stage), *(f"{peak.live[kind]:,}" for kind in shown), f"{peak.total:,}"] for peak in peaks
    ]
    heads = [word["stage"], *(word[f"why_{kind}"] for kind in shown), word["peak"]]
    lines = [word["why_peak"], fitting(rows, heads)]
    for peak in peaks:
        most = max(shown, key=lambda kind: peak.live[kind])
        lines.append(
            word["why_where"].format(
                stage=peak.stage,
                most=word[f"why_{most}"],
                file=peak.file,
                line=peak.line,
                unit=peak.unit or "-",
                text=peak.text,
            )
        )
    return "\n".join(lines)


def from_stage_to_stage(peaks: list[Peak], word: dict[str, str]) -> str:
    """Differences of peaks beside the law, and for whom stage 3 needs more than stage 2."""
    last, rows = peaks[-1], []
    for (a, b), says in law(last).items():
        found = peaks[b].total - peaks[a].total
        rows.append(
            [
                f"{a} → {b}",
                f"{found:+,}",
                SYMBOLS[a, b],
                f"{says:+,.0f}",
                word["yes" if found == says else "no"],
            ]
        )
    heads = [word[name] for name in ("stage", "why_difference", "why_law", "why_value", "why_holds")]
    numbers = dict(psi=f"{last.psi:,}", own=f"{last.own:,}", largest=f"{last.largest:,}")
    more = "why_more" if last.largest > last.psi - last.own else "why_less"
    more = more if last.live["gathered"] else "why_nothing_gathered"
    less = f"{last.itemsize * (last.own - last.psi):,}"
    return "\n".join(
        [
            word["why_from"],
            fitting(rows, heads),
            word["why_symbols"].format(e=last.itemsize, k=f"{last.state:g}", **numbers),
            word["why_law_note"],
            word[more].format(others=f"{last.psi - last.own:,}", less=less, line=last.line, **numbers),
        ]
    )


def beside_all_ranks(o: argparse.Namespace, peaks: list[Peak], word: dict[str, str]) -> str:
    """What groups need more than shards over all ranks, beside the law."""
    rows = []
    for peak, alone in zip(peaks[1:], peaks_of(o, (1, 2, 3), group=None)):
        found, says = peak.total - alone.total, law_of_groups(peak, alone)
        holds = word["yes" if found == says else "no"]
        law = f"{GROUP_SYMBOLS[peak.stage]} (Ψ/G - Ψ/N)"
        rows.append([str(peak.stage), f"{alone.total:,}", f"{found:+,}", law, f"{says:+,.0f}", holds])
    names = ("stage", "why_all_ranks", "why_difference", "why_law", "why_value", "why_holds")
    return "\n".join([word["why_beside"], fitting(rows, [word[name] for name in names]), word["why_copies"]])


def changes(o: argparse.Namespace, peaks: list[Peak], word: dict[str, str]) -> str:
    """Other lists of units: what stages 2 and 3 would need, and in how many calls."""
    tried: list[tuple[str, list[Peak]]] = [(word["why_as_it_is"], peaks[2:])]
    for name, value in others(o, peaks):
        found = peaks_of(o, (2, 3), **{"bucket": None, "tiles": None, name: value})
        if found[1].units != tried[-1][1][1].units:
            tried.append((f"--{name} {value}", found))
    rows = [
        [
            name,
            f"{third.units:,}",
            f"{third.largest:,}",
            f"{second.total:,}",
            f"{third.total:,}",
            f"{third.calls:,}",
        ]
        for name, (second, third) in tried
    ]
    names = ("why_units", "why_units_number", "why_largest", "why_stage_2", "why_stage_3", "why_calls")
    return "\n".join([word["why_changes"], fitting(rows, [word[name] for name in names])])


def others(o: argparse.Namespace, peaks: list[Peak]) -> list[tuple[str, int]]:
    """Options with other lists of units: two buckets, or one of all; where layers are units, tiles.

    Of tiles 2 and 4, and the fewest with which stage 3 needs no more than stage 2, if there are such.
    """
    found = [("bucket", n) for n in (-(-peaks[-1].psi // 2), peaks[-1].psi) if n != o.bucket]
    if o.model in ("gpt", "transformer"):
        return found
    numbers = {2, 4}
    if peaks[3].total > peaks[2].total:
        for number in range(2, MOST_TILES):
            second, third = peaks_of(o, (2, 3), bucket=None, tiles=number)
            if third.total <= second.total:
                numbers.add(number)
                break
    return found + [("tiles", number) for number in sorted(numbers) if number != o.tiles]
