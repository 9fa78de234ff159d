"""A run in words, and what its ranks hold and send as tables: for a terminal of 80 columns, in two languages.

Ranks that hold and send the same share a row. '=' behind a number: formulas and dry run say the same.
"""

import itertools
from collections.abc import Sequence
from typing import Any

from zero_ref.datasets.texts import bits
from zero_ref.launch.terminal import fitting, folded, words_of
from zero_ref.ledger import COLLECTIVES, WAYS
from zero_ref.report.page import formula, numbers
from zero_ref.report.vocabulary import origin

NOTHING_SAVED = [("host", "cpu"), ("host", "compiled")]  # the host's memory is the device's
HELD = ("parameter", "gradient", "optimizer")  # the kinds that a rank keeps between steps


def words_for(record: dict[str, Any], language: str | None) -> dict[str, str]:
    """Every word in a language, as it is where the numbers of this record come from (`origin`)."""
    word, own = words_of(__package__, language), f"_{origin(record)}"
    return word | {key.removesuffix(own): text for key, text in word.items() if key.endswith(own)}


def summary(record: dict[str, Any], language: str | None = None) -> str:
    """The run in words and one table. A run that trained nothing has no table."""
    word = words_for(record, language)
    config, owned = record["config"], record["owned"]
    lines = [
        word["summary_run" if record["world_size"] > 1 else "summary_run_alone"].format(
            **config | {"ranks": record["world_size"]}
        )
        + (word["summary_groups"].format(**config) if config.get("group") else "")
        + offloaded(config, word)
        + (word["summary_bucket"].format(**config) if config.get("bucket") else "")
        + (word["summary_tiles"].format(**config) if config.get("tiles") else "")
        + (word["summary_accumulate"].format(**config) if config.get("accumulate") else ""),
        word["summary_model"].format(
            model=f"{config['model']} {record['model']}",
            parameters=f"{record['parameters']:,}",
            units=record["units"],
            padded=f"{record['parameters_padded']:,}",
        ),
    ]
    if origin(record) == "dry":
        lines.append(word["summary_dry"])
    else:
        lines += [
            word["summary_data"].format(
                data=config["data"],
                task=task(record, word),
                steps=len(record["loss"]),
                samples=record["samples_per_step"],
                each=duration(record["seconds_per_step"]),
            ),
            word["summary_loss"].format(loss=loss(record, word)),
            word["summary_test"].format(scores=scores(record["test"] or {}, word)),
            *best(record, word),
            word["summary_weights"].format(
                sha256=record["weights_sha256"][:16], share=f"{max(owned) * len(owned) / sum(owned):.3f}"
            ),
        ]
    lines += newton_schulz(record, word)
    lines += zeropp(record, word)
    samples = [rank["samples"] for rank in record["ranks"]]
    if origin(record) != "dry" and len(samples) > 1 and not uneven(samples):
        shown = dict.fromkeys(f"{n:,}" for n in (min(samples), max(samples)))
        lines.append(word["summary_shared"].format(samples="-".join(shown)))
    if (checks := record["check_seconds_per_step"]) is not None:
        lines.append(word["summary_check"].format(milliseconds=f"{1e3 * checks:.2f}"))
    lines = [part for line in lines for part in folded(line)]
    lines += ["", holdings(record, word)] if record["loss"] else []
    lines += ["", word["summary_text"], record["text"]] if record.get("text") else []
    return "\n".join(lines)


def newton_schulz(record: dict[str, Any], word: dict[str, str]) -> list[str]:
    """What Muon computes in a step, in a line: the rank with most, and how often each matrix is done."""
    work = record.get("newton_schulz")
    if not work or not any(work):
        return []
    most, mean = max(work), sum(work) / len(work)
    return [
        word["summary_muon"].format(
            most=f"{most / 1e6:,.1f}", uneven=f"{most / mean:.3f}", all=f"{sum(work) / 1e6:,.1f}"
        )
    ]


def zeropp(record: dict[str, Any], word: dict[str, str]) -> list[str]:
    """The options of ZeRO++, if there are any, and what codes have lost that is to be sent yet."""
    config, asked = record["config"], []
    for name in ("code_weights", "code_gradients", "error_feedback", "hpz", "machine"):
        if value := config.get(name):
            asked.append(f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}"))
    found = [word["summary_zeropp"].format(asked=", ".join(asked))] if asked else []
    drift, last = record.get("drift"), (record["grad_norm"] or [None])[-1]
    if drift is not None and last:
        found.append(word["summary_drift"].format(drift=f"{drift:.4g}", share=f"{drift / last:.1%}"))
    return found


def duration(seconds: float) -> str:
    """2.50 ms, or 1.36 s."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.2f} ms"


def task(record: dict[str, Any], word: dict[str, str]) -> str:
    """What is learned."""
    number = record["task"].partition(" ")[0]
    return word["summary_classes"].format(classes=number) if number.isdigit() else word["summary_numbers"]


def loss(record: dict[str, Any], word: dict[str, str]) -> str:
    """The first loss, and the mean of the last epoch: that of one batch says little."""
    if not record["loss"]:
        return word["summary_untrained"]
    last = record["last_epoch"]
    key = "summary_of_epoch" if last["whole"] else "summary_of_steps"
    said = word[key].format(first=f"{record['loss'][0]:.4f}", mean=f"{last['loss']:.4f}", steps=last["steps"])
    return said + (word["summary_nats"] if "bits" in (record["test"] or {}) else "")


def best(record: dict[str, Any], word: dict[str, str]) -> list[str]:
    """The least loss that --eval-every has found, in a line, if it was asked for."""
    if not record.get("best"):
        return []
    loss, step = record["best"]
    return [word["summary_best"].format(loss=f"{loss:.4f}", step=f"{step:,}")]


def scores(test: dict[str, float | None], word: dict[str, str]) -> str:
    """What the held-out samples say; of text also in bits, beside one who knows no more than frequencies."""
    if test.get("bits") is not None:
        units = {name: score(test[name], word) for name in ("loss", "bits", "unigram", "accuracy")}
        unigram = test["unigram"]
        return word["score_text"].format(**units, unigram_bits=score(unigram and bits(unigram), word))
    found = [f"{word.get(f'score_{name}', name)} {score(value, word)}" for name, value in test.items()]
    return word["summary_comma"].join(found) or word["summary_no_test"]


def score(value: float | None, word: dict[str, str]) -> str:
    """One of them."""
    return word["summary_undefined"] if value is None else f"{value:.4f}"


# -- what ranks hold and send --


def holdings(record: dict[str, Any], word: dict[str, str]) -> str:
    """Per rank: samples, bytes between steps by kind, in all, at most, and sent in a step."""
    ranks, owned = record["ranks"], record.get("owned") or [1] * record["world_size"]
    whole = sum(owned[: record["config"].get("group")])  # of the ranks of one group
    shares = [f"{owned[number] / (whole or 1):.1%}" for number in numbers(record)]
    kinds = [kind for kind in ranks[0]["resting_bytes"] if any(rank["resting_bytes"][kind] for rank in ranks)]
    shown = [kind for kind in ranks[0]["resting_bytes"] if kind in HELD or kind in kinds]
    header = [word[f"summary_{kind}"] for kind in shown]
    header += [word["summary_at_rest"], word["summary_peak"], word["summary_sent"]]
    header += [word[name] for name in apart(record)]
    samples = [rank["samples"] for rank in ranks]
    dealt = {word["summary_samples"]: [f"{n:,}" for n in samples]} if uneven(samples) else {}
    dealt |= {word["summary_share"]: shares} if len(set(shares)) > 1 else {}
    cells, notes = [], []
    for i, (number, rank) in enumerate(zip(numbers(record), ranks)):
        rest, sent = rank["resting_bytes"], rank["sent_bytes_per_step"]
        peak, difference = peak_of(rank, origin(record), word)
        notes += folded(f"rank {number}: {difference}") if difference else []
        row = [
            *(column[i] for column in dealt.values()),
            *(f"{rest[kind]:,}" for kind in shown),
            beside(sum(rest.values()), sum(formula(rank)["resting_bytes"].values())),
            peak,
            beside(sum(sent.values()), sum(formula(rank)["sent_bytes_per_step"].values())),
            *between(record, rank),
        ]
        cells.append(row)
    groups = grouped(numbers(record), cells, record["world_size"], word)
    rows = [[name, *cells[group[0]]] for name, group in groups]
    tables = [fitting(rows, ["rank", *dealt, *header]), *notes, word["summary_legend"]]
    return "\n".join([*tables, *outside(record, word)])


def offloaded(config: dict[str, Any], word: dict[str, str]) -> str:
    """What --offload has put where, for the first line; nothing without."""
    if not config.get("offload"):
        return ""
    said = word["summary_offload"].format(tier=word[f"summary_{tier(config)}_place"])
    return said + (word["summary_shards_too"] if config["offload_shards"] else "")


def tier(config: dict[str, Any]) -> str:
    """ "host" or "disk": the first part of --offload."""
    return config["offload"].partition(":")[0]


def outside(record: dict[str, Any], word: dict[str, str]) -> list[str]:
    """A table of what --offload has put outside the device, if it has: what lies there, and its use."""
    config = record["config"]
    if not config.get("offload"):
        return []
    ways = [way for way in WAYS if way != "mapped" or config["offload_shards"]]
    cells = []
    for rank in record["ranks"]:
        away = [sum(each["away_bytes"].values()) for each in (rank, formula(rank))]
        moved = [[each["moved_bytes_per_step"][way] for each in (rank, formula(rank))] for way in ways]
        cells.append([beside(*pair) for pair in (away, *moved)])
    groups = grouped(numbers(record), cells, record["world_size"], word)
    rows = [[name, *cells[group[0]]] for name, group in groups]
    header = [word[f"summary_{tier(config)}"], *(word[f"summary_{way}"] for way in ways)]
    notes = [word["summary_outside"], *([word["summary_outside_mapped"]] if config["offload_shards"] else [])]
    notes += [word["summary_host_on_cpu"]] if (tier(config), config["place"]) in NOTHING_SAVED else []
    return ["", fitting(rows, ["rank", *header]), *notes]


def traffic(record: dict[str, Any], word: dict[str, str]) -> str:
    """Bytes in one step by collective, for each rank."""
    header = ["rank", *(word[f"collective_{name}"] for name in COLLECTIVES), word["total"]]
    header += [word[name] for name in apart(record)]
    cells = []
    for rank in record["ranks"]:
        sent, says = rank["sent_bytes_per_step"], formula(rank)["sent_bytes_per_step"]
        row = [beside(sent[name], says[name]) for name in COLLECTIVES]
        cells.append([*row, beside(sum(sent.values()), sum(says.values())), *between(record, rank)])
    groups = grouped(numbers(record), cells, record["world_size"], word)
    rows = [[name, *cells[group[0]]] for name, group in groups]
    return f"{word['text_traffic']}\n\n{fitting(rows, header)}"


def apart(record: dict[str, Any]) -> list[str]:
    """The word for what lies between those who are near, if the run tells them apart."""
    names = {"group": "summary_between", "machine": "summary_between_machines"}
    return [name for option, name in names.items() if record["config"].get(option)]


def between(record: dict[str, Any], rank: dict[str, Any]) -> list[str]:
    """The cell of a row that says what of the bytes sent went to other groups, if there are groups."""
    sent = [each.get("between_bytes_per_step", {}) for each in (rank, formula(rank))]
    measured, says = (sum(each.values()) for each in sent)
    return [beside(measured, says) for _ in apart(record)]


def peak_of(rank: dict[str, Any], source: str, word: dict[str, str]) -> tuple[str, str]:
    """A rank's peak, with '=' if nothing says otherwise, and in words what does."""
    peak, predicted, kinds = rank["peak_total_bytes"], rank["predicted"]["peak_total_bytes"], []
    if source != "old":
        says = formula(rank)["peak_bytes"]
        kinds = [
            f"{word[kind]} {beside(rank['peak_bytes'][kind], of)}"
            for kind, of in says.items()
            if rank["peak_bytes"][kind] != of
        ]
    if peak != predicted:
        kinds.append(f"{word['dry_run']} {predicted:,}")
    return (f"{peak:,} !", f"{word['peak']} {peak:,}; {'; '.join(kinds)}") if kinds else (f"{peak:,} =", "")


def beside(measured: int, says: int) -> str:
    """A number with '=', or with what the formula says instead."""
    return f"{measured:,} =" if measured == says else f"{measured:,} ({says:,})"


def uneven(samples: Sequence[int]) -> bool:
    """Whether ranks computed different numbers of samples, by more than what a batch leaves over."""
    return max(samples) > 1.01 * min(samples)


def grouped(
    numbers: Sequence[int], rows: Sequence[Sequence[str]], size: int, word: dict[str, str]
) -> list[tuple[str, list[int]]]:
    """Ranks with equal rows: what they are called, and their places in `rows`. All of them: "each of 4"."""
    places: dict[tuple[str, ...], list[int]] = {}
    for i, row in enumerate(rows):
        places.setdefault(tuple(row), []).append(i)
    if len(places) == 1 < len(rows) == size:
        return [(word["summary_each"].format(ranks=size), list(range(size)))]
    return [(runs([numbers[i] for i in group], word), group) for group in places.values()]


def runs(found: list[int], word: dict[str, str]) -> str:
    """0-2, 5: numbers of ranks; where these are too many, the first and how many."""
    parts = []
    for _, same in itertools.groupby(enumerate(found), lambda pair: pair[1] - pair[0]):
        first, *_, last = [number for _, number in same] * 2
        parts.append(f"{first}" if first == last else f"{first}-{last}")
    return (
        ", ".join(parts) if len(parts) < 4 else word["summary_among"].format(first=parts[0], ranks=len(found))
    )
