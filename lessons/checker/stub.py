"""The file that a student begins with, made from the catalogue.

python -m lessons.checker.stub               writes all exercises that have none in lessons/exercises
python -m lessons.checker.stub --force       writes them all anew; what was written there is lost
python -m lessons.checker.stub --force 06    writes this one anew
"""

import re
import sys
import textwrap

from lessons import HOME
from lessons.checker.words import LANGUAGES, catalogue, exercises, wrap

FOLDER = HOME / "lessons" / "exercises"
HEADS = {"zh": ("目标", "通过条件", "检查"), "en": ("Goal", "Done when", "Check")}


def text(exercise: str) -> str:
    """The stub of an exercise: what is to be done, in both languages, and functions without a body."""
    words = catalogue(exercise)["exercise"]
    lines = [f"# {exercise[:2]} {words['title']['zh']} · {words['title']['en']}", "#"]
    for language in LANGUAGES:
        goal, done, check = HEADS[language]
        colon = "：" if language == "zh" else ": "
        for head, what in ((goal, words["goal"][language]), (done, words["done"][language])):
            for number, paragraph in enumerate(textwrap.dedent(what).strip().split("\n\n")):
                lines += [
                    f"# {line}" for line in wrap((head + colon if number == 0 else "") + paragraph, 108)
                ]
        lines += [f"# {check}{colon}python lessons/exercises/{exercise}.py", "#"]
    code = words["code"].strip("\n")
    if first := re.search(r"^from _exercise import .*\n", code, re.M):  # it looks at what is in the way
        code = f"{first[0]}{code.replace(first[0], '', 1)}"
    end = 'if __name__ == "__main__":\n    check(__file__)\n'
    return "\n".join(lines[:-1]) + f"\n\n{code}\n\n\n{end}"


def main() -> None:
    """Write the stubs."""
    FOLDER.mkdir(exist_ok=True)
    numbers = [word for word in sys.argv[1:] if word != "--force"]
    for exercise in exercises():
        path = FOLDER / f"{exercise}.py"
        if not path.exists() or ("--force" in sys.argv and (not numbers or exercise[:2] in numbers)):
            path.write_text(text(exercise), encoding="utf-8")


if __name__ == "__main__":
    main()
