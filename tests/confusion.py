"""Every solution and every known wrong answer through the checker, and what each is taken for.

python tests/confusion.py                    all exercises
python tests/confusion.py 06 07              some
python tests/confusion.py 06 --seed other    with other numbers
python tests/confusion.py 06 -v              and what a student sees
"""

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from lessons.checker import checking, words  # noqa: E402
from lessons.checker.ranks.runner import Job  # noqa: E402


def wrong(exercise: str) -> dict[str, tuple[str, ...]]:
    """Diagnosis -> the changes to the solution that must get it."""
    spec = importlib.util.spec_from_file_location(f"wrong_{exercise}", HERE / "wrong" / f"{exercise}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.WRONG


def answers(exercise: str) -> dict[str, str]:
    """Name -> the text of an answer: "" is the solution, all others are wrong."""
    solution = (HERE / "answers" / f"{exercise}.py").read_text(encoding="utf-8")
    found = {"": solution}
    for key, changes in wrong(exercise).items():
        text = solution
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert old in text, f"{exercise} {key}: {old!r} is not in the solution"
            text = text.replace(old, new)
        found[key] = text
    return found


def confusion(exercise: str, limit: float = 5.0, seed: str = "s") -> dict[str, checking.Result]:
    """Name of each answer -> what the checker says."""
    with tempfile.TemporaryDirectory() as name:
        texts, jobs = answers(exercise), []
        for number, text in enumerate(texts.values()):
            file = Path(name) / str(number) / f"{exercise}.py"
            file.parent.mkdir()
            file.write_text(text, encoding="utf-8")
            jobs.append(Job(exercise, str(file), seed))
        return dict(zip(texts, checking.check(jobs, limit)))


def main() -> int:
    """Print the table; the number of answers that are taken for something else."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("numbers", nargs="*")
    p.add_argument("--seed", default="s")
    p.add_argument("--language", choices=words.LANGUAGES, default="en")
    p.add_argument("-v", action="store_true")
    o = p.parse_args()
    bad = total = 0
    for exercise in words.exercises():
        if o.numbers and exercise[:2] not in o.numbers:
            continue
        print(exercise)
        for key, result in confusion(exercise, seed=o.seed).items():
            got = result.diagnosis.key if result.diagnosis else ""
            total, bad = total + 1, bad + (got != key)
            sign = "=" if got == key else "TAKEN FOR"
            found = f" {got or 'passed'}" if got != key else ""
            print(f"  {key or 'the solution':24} {sign}{found}   {result.seconds:.2f} s {result.state}")
            if got != key or o.v:
                print(words.result_text(exercise, Path(result.job.file), result.diagnosis, o.language))
                print(result.outcome.printed)
    print(f"{total - bad} passed, {bad} failed")
    return bad


if __name__ == "__main__":
    sys.exit(min(1, main()))
