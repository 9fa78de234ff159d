"""Hints, one more with every call: first that of the last diagnosis, then the exercise's own, in order."""

from lessons.checker import progress, words
from lessons.checker.student import attempt
from lessons.checker.words import say


def next_hint(exercise: str, language: str) -> list[str]:
    """The next hint, noted as shown; when all have been, the last one again, which does not count."""
    own = words.catalogue(exercise)["exercise"]["hints"][language]
    with progress.change() as found:
        record = progress.record_of(found, exercise)
        if (key := unseen_diagnosis(exercise, record)) is not None:
            record["hinted"] = [*record["hinted"], key]
            record["hints"] += 1
            return lay_out(say("hint_here", language), hint_of_diagnosis(exercise, key, language))
        if record["level"] < len(own):
            record["level"] += 1
            record["hints"] += 1
            label = say("hint_level", language, level=record["level"], of=len(own))
            return lay_out(label, own[record["level"] - 1])
    return [
        say("hints_end", language),
        *lay_out(say("hint_level", language, level=len(own), of=len(own)), own[-1]),
    ]


def unseen_diagnosis(exercise: str, record: dict) -> str | None:
    """The last diagnosis, if it has a hint that was not shown yet."""
    key = record["last"]
    if key is None or key in record["hinted"] or hint_of_diagnosis(exercise, key, "en") == "":
        return None
    return key


def hint_of_diagnosis(exercise: str, key: str, language: str) -> str:
    """The hint of a diagnosis, with the numbers of the last run; "" where there is none."""
    last = progress.last_run(exercise)
    diagnosis = attempt.diagnosis_of(last) if last else None
    if diagnosis is None or diagnosis.key != key:
        return ""
    try:
        return words.diagnosis_text(exercise, diagnosis, "hint", language)
    except KeyError:
        return ""


def lay_out(label: str, text: str) -> list[str]:
    """A hint under its label, wrapped; paragraphs stay apart."""
    return [
        label,
        *("  " + line for p in text.strip().split("\n") for line in words.wrap(p, words.COLUMNS - 2)),
    ]
