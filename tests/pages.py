"""What README and docs say: their commands, run once in a copy of the project, and the output they show.

    python tests/pages.py     as `make readme` does: puts the output of real runs into both READMEs

A page's fences: `sh` are commands, `text` is output or a file, `diff` the difference of two stage files.
docs/tests.md has a table of the commands that are not run, and why.
"""

import contextlib
import difflib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from launching import THREADS

ROOT = Path(__file__).parent.parent
READMES = {"en": ROOT / "README.md", "zh": ROOT / "README.zh.md"}
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", "runs", "grades", ".learn", "__pycache__", ".*_cache", "build", "dist", "*.egg-info"
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

SAVED = "mpirun -n 4 python -m zero_ref.train --steps 300 --save runs/digits --save-every 100"
TANG = (
    "mpirun -n 2 python -m zero_ref.train --model gpt --data tang --steps 60 --eval-every 20 --save runs/tang"
)
HOMEWORK = "mkdir -p homework/ana && cp tests/answers/06_ring_reduce_scatter.py homework/ana"
NEEDS = {  # beginning of a command -> what has to run before it, of the pages or not
    "python -m zero_ref.report": ["make compare"],
    "python -m zero_ref.plan --compare run.json": [
        "mpirun -n 2 python -m zero_ref.plan --calibrate machine.json",
        "mpirun -n 2 python -m zero_ref.train --record run.json",
    ],
    "mpirun -n 4 python -m zero_ref.train --own": [
        "python -m lessons run 06",  # which says that nothing is written yet
        "cp tests/answers/0[67]_*.py tests/answers/1[0123]_*.py lessons/exercises",
    ],
    "mpirun -n 4 python -m zero_ref.train --resume": [SAVED],
    "python -m zero_ref.checkpoint": [SAVED],
    "python -m zero_ref.predict": [SAVED],
    "mpirun -n 3 python -m zero_ref.predict": [SAVED],
    "mpirun -n 3 python -m zero_ref.predict --checkpoint runs/tang": [TANG],
    "mpirun -n 3 python -m zero_ref.generate": [TANG],
    "python -m lessons grade homework": [HOMEWORK],
}
CODES = {"python -m lessons run 06": 2}  # nothing is written there yet; 0 everywhere else


def every_page() -> list[Path]:
    """README, docs and the list of lessons, in every language."""
    return [*READMES.values(), *sorted((ROOT / "docs").glob("*.md")), ROOT / "lessons" / "README.md"]


def fences(path: Path) -> list[tuple[str, str]]:
    """(language, text) of each fenced block."""
    return FENCE.findall(path.read_text(encoding="utf-8"))


def commands(path: Path) -> list[str]:
    """The commands of a page's `sh` blocks, without comments."""
    lines = "\n".join(text for language, text in fences(path) if language == "sh").replace("\\\n", " ")
    bare = (re.sub(r"(^|\s+)#.*", "", line) for line in lines.splitlines())
    return [" ".join(line.split()) for line in bare if line.strip()]


def made(path: Path) -> list[str]:
    """The `make` commands in a page's text; the rows of the table of what is not run are left out."""
    text = re.sub(r"^\| `.*$", "", FENCE.sub("", path.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return re.findall(r"`(make [a-z-]+)`", text)


def not_run(page: str = "tests.md") -> dict[str, str]:
    """Command -> why no test runs it, from the table of the page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", text, re.MULTILINE))


class Copy:
    """A copy of the project in which commands are run, each once."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "zero_ref"
        shutil.copytree(ROOT, self.root, ignore=NOT_COPIED, symlinks=True)
        self.done: dict[str, str] = {}
        here = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        self.environment = {
            k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LC_ALL", *THREADS)
        } | {
            "PATH": here,
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(folder),
            "ZERO_REF_LEARN": str(folder / "learn"),
        }

    def run(self, command: str) -> str:
        """What it prints. Everything that it needs is run before; `make` takes set-up as done."""
        if command not in self.done:
            for begins, needed in NEEDS.items():
                if command.startswith(begins):
                    for each in needed:
                        self.run(each)
            self.done[command] = self.start(re.sub(r"^make ", "make --no-print-directory -o setup ", command))
        return self.done[command]

    def start(self, command: str, limit: float = 300) -> str:
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            out, _ = process.communicate(timeout=limit)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # all that it has started
            process.wait()
        assert process.returncode == CODES.get(command, 0), f"{command}: {process.returncode}\n{out}"
        return out


# -- what the READMEs show --


def summary(copy: Copy, language: str) -> list[str]:
    """The main run, where LANG asks for this language: its first lines, and its table."""
    chinese = language == "zh"
    shown = copy.start("LANG=zh_CN.UTF-8 make -s -o setup train") if chinese else copy.run("make train")
    command, out = ("", shown) if chinese else shown.split("\n", 1)
    assert chinese or command == "mpirun -n 4 python -m zero_ref.train"
    head, table = out.rstrip().split("\n\n", 1)
    return [head, table]


def hang(copy: Copy, language: str) -> str:
    """The diagnosis of a ring in which everybody sends first."""
    file = "lessons/exercises/06_ring_reduce_scatter.py"
    right = (ROOT / "tests" / "answers" / "06_ring_reduce_scatter.py").read_text(encoding="utf-8")
    one = "arriving = comm.sendrecv(partial, right, left)"
    two = "comm.send(partial, right)\n        arriving = comm.recv(left)"
    assert one in right
    before = (copy.root / file).read_text(encoding="utf-8")
    (copy.root / file).write_text(right.replace(one, two), encoding="utf-8")
    try:
        out = copy.start(f"python -m lessons run 06 --language {language} || test $? = 1")
    finally:
        (copy.root / file).write_text(before, encoding="utf-8")
    return "\n".join(out.splitlines()[:6])


def plan(copy: Copy, language: str) -> str:
    """The planner's table as the paper counts, in the README's language."""
    place = "LANG=zh_CN.UTF-8 " if language == "zh" else ""
    out = copy.run(f"{place}python -m zero_ref.plan --parameters 7.5e9 --ranks 64 --memory 32GB")
    return out.split("\n\n")[1]


def outputs(copy: Copy, language: str) -> list[str]:
    """The `text` blocks of a README, as real runs have them."""
    return [*summary(copy, language), hang(copy, language), plan(copy, language)]


def code(stage: int) -> list[str]:
    """The lines of a stage file after its opening docstring and imports."""
    text = (ROOT / "zero_ref" / "stages" / f"zero{stage}.py").read_text()
    return text[text.index("def setup") :].splitlines()


def difference(stage: int) -> str:
    """Changed lines from one stage to the next, with one line around them."""
    lines = list(difflib.unified_diff(code(stage), code(stage + 1), n=1, lineterm=""))[2:]
    return "\n".join("..." if line.startswith("@@") else line for line in lines[1:])


def alike(shown: str, real: str) -> bool:
    """Equal but for what another machine may change: times, hashes, last digits of losses, sizes tried."""
    varying = r"\d+\.\d\d ms|(?<=sha256 )[0-9a-f]{16}|(?<=length = )\d+|(?<= )\d\.\d{4}\b"
    numbers = [[float(x) for x in re.findall(r"(?<= )\d\.\d{4}\b", text)] for text in (shown, real)]
    return re.sub(varying, "#", shown) == re.sub(varying, "#", real) and all(
        abs(a - b) < 0.005 for a, b in zip(*numbers)
    )


def renew(text: str, blocks: dict[str, list[str]]) -> str:
    """A README with these blocks by language, but for those that are alike."""
    left = {language: iter(texts) for language, texts in blocks.items()}

    def block(found: re.Match) -> str:
        language, shown = found[1], found[2].rstrip("\n")
        real = next(left[language]) if language in left else shown
        return f"```{language}\n{shown if alike(shown, real) else real}\n```"

    return FENCE.sub(block, text)


def main() -> None:
    """Write both READMEs again."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        for language, path in READMES.items():
            blocks = {"text": outputs(copy, language), "diff": [difference(stage) for stage in range(3)]}
            path.write_text(renew(path.read_text(encoding="utf-8"), blocks), encoding="utf-8")


if __name__ == "__main__":
    main()
