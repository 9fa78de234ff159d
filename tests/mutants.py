"""What the checker says of solutions with one edit: the table of `make mutants`.

    python tests/mutants.py [06 07 ...] [--each N] [--seed s] [-v]

An edit is what a slip of the hand does: two neighbours exchanged (statements, operands, arguments), a number
one off, a line left out or written twice, `=` for `+=`, another name of the same function in the place of
one, another operator or comparison. Each is made in the exercise's solution, one at a time, and checked as a
student's file. A mutant that passes is either equal in effect or a hole in the check; of those that fail, the
diagnosis should name what the edit does. What gives nothing but the evidence (GENERAL) does not.

Of each statement it is tried whether it is so, on what the mutant does: by an oracle of its own (truth.py,
truth_of.py), or beside a twin, the answer that was written to make this mistake (twins.py). `false` has to
stay 0, and so has `none`: what nothing tries.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import truth_of  # noqa: E402, F401 its oracles
from confusion import HERE, answers  # noqa: E402
from truth import judge, oracle_of  # noqa: E402

from lessons.checker import checking, words  # noqa: E402
from lessons.checker.checking import Result  # noqa: E402
from lessons.checker.edits import mutants  # noqa: E402
from lessons.checker.ranks.runner import Job  # noqa: E402

GENERAL = {"unknown", "unknown_peak", "died", "out_of_time", "no_verdict", "spoiled"}  # these name no effect
GENERAL |= {"scales_wrong", "codes_wrong", "back_wrong"}


def check(exercise: str, texts: dict[str, str], limit: float = 2.0, seed: str = "s") -> dict[str, Result]:
    """Name of each edit -> what the checker says."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = []
        for number, text in enumerate(texts.values()):
            file = Path(folder) / str(number) / f"{exercise}.py"
            file.parent.mkdir()
            file.write_text(text, encoding="utf-8")
            jobs.append(Job(exercise, str(file), seed))
        return dict(zip(texts, checking.check(jobs, limit) if jobs else []))


def sample(texts: dict[str, str], each: int, seed: str) -> dict[str, str]:
    """At most so many of them, always the same for a seed; all with each = 0."""
    if not each or each >= len(texts):
        return texts
    return {name: texts[name] for name in sorted(Random(seed).sample(sorted(texts), each))}


def is_named(result: Result) -> bool:
    """Whether a wrong mutant's diagnosis says what the edit does."""
    return result.diagnosis is not None and result.diagnosis.key not in GENERAL


def is_statement(result: Result) -> bool:
    """Whether anything is said of a mutant that may be so or not."""
    return result.diagnosis is not None and result.state != "not_started"


def twins(exercise: str, keys: set[str], seed: str = "s") -> dict[str, Result]:
    """Of these keys, those that no oracle tries: what the answer does that was written to get it."""
    texts = {key: text for key, text in answers(exercise).items() if key in keys - {""}}
    return check(exercise, {key: t for key, t in texts.items() if not oracle_of(exercise, key)}, 5.0, seed)


def truths(
    exercise: str, texts: dict[str, str], results: dict[str, Result], right: Result, seed: str = "s"
) -> dict[str, bool | None]:
    """Name of each mutant -> whether what is said of it is so; None where nobody can tell, or nothing is."""
    made = twins(exercise, {r.diagnosis.key for r in results.values() if r.diagnosis}, seed)
    return {
        name: judge(exercise, texts[name], r, right, r.diagnosis and made.get(r.diagnosis.key))
        for name, r in results.items()
    }


def main() -> int:
    """Print the table; 1 if not nine in ten are named in an exercise, or anything is false or untried."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("numbers", nargs="*")
    p.add_argument("--each", type=int, default=0, help="so many of an exercise, drawn by --seed (all)")
    p.add_argument("--seed", default="s")
    p.add_argument("-v", action="store_true", help="every mutant, and what is said of it")
    o = p.parse_args()
    enough = True
    print(
        f"{'exercise':24} {'mutants':>8} {'pass':>6} {'fail':>6} {'named':>6} {'not':>6}  {'of failing':>10}"
        f" {'so':>6} {'none':>6} {'false':>6}"
    )
    for exercise in words.exercises():
        if o.numbers and exercise[:2] not in o.numbers:
            continue
        source = (HERE / "answers" / f"{exercise}.py").read_text(encoding="utf-8")
        if not (texts := sample(mutants(source), o.each, o.seed)):
            continue  # 00 has no function
        results = check(exercise, texts, seed=o.seed)
        right = check(exercise, {"": source}, limit=10.0, seed=o.seed)[""]
        so = truths(exercise, texts, results, right, o.seed)
        failing = {name: r for name, r in results.items() if r.state in ("wrong", "not_started")}
        named = sum(map(is_named, failing.values()))
        share = named / max(1, len(failing))
        said = [so[name] for name, r in results.items() if is_statement(r)]
        enough &= share >= 0.9 and set(said) <= {True}
        print(
            f"{exercise:24} {len(results):8} {len(results) - len(failing):6} {len(failing):6}"
            f" {named:6} {len(failing) - named:6}  {100 * share:8.1f} %"
            f" {said.count(True):6} {said.count(None):6} {said.count(False):6}",
            flush=True,
        )
        if o.v:
            for name, result in results.items():
                key = result.diagnosis.key if result.diagnosis else "passed"
                sign = "" if is_named(result) or result.state == "passed" else "NO "
                print(f"    {'FALSE ' if so[name] is False else ''}{sign}{key:24} {name}")
            print("   ", Counter(r.diagnosis.key if r.diagnosis else "passed" for r in results.values()))
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
