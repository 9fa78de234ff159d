"""Files that a student has called like a module: every program that wants the module gets them.

Python looks beside the program first. So `random.py` among the exercises is taken for Python's own by NumPy,
by the checker, by mpi4py, each of which then fails in a way that names something else.

Nothing is imported here but what Python has in itself: all else may be such a file.
"""

import os
import sys

# What checks, exercises and lessons need beside Python's own modules.
OTHERS = {
    "numpy",
    "mpi4py",
    "zero_ref",
    "lessons",
    "safetensors",
    "msgspec",
    "ml_dtypes",
    "tabulate",
    "wcwidth",
}
OTHERS |= {"tqdm"}
NOBODYS = {"test", "this", "antigravity", "idlelib", "turtledemo", "__main__"}  # which nothing imports
ENDS = (".py", ".pyc", ".so", ".pyd")


ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
LESSONS = os.path.join(ROOT, "lessons")
EXERCISES = os.path.join(LESSONS, "exercises")
OF_THE_COURSE = {LESSONS, os.path.join(ROOT, "zero_ref")}


def find(folders: list[str]) -> list[tuple[str, str]]:
    """(file, module) of what has a module's name in these folders; the course's own files do no harm."""
    names = (set(sys.stdlib_module_names) | OTHERS) - NOBODYS
    found = []
    for folder in dict.fromkeys(map(os.path.realpath, folders)):
        for entry in sorted(os.listdir(folder) if os.path.isdir(folder) else ()):
            path, name = os.path.join(folder, entry), entry.partition(".")[0]
            if name in names and path not in OF_THE_COURSE and is_module(path):
                found.append((path, name))
    return found


def is_module(path: str) -> bool:
    """Whether Python would import this file or folder."""
    if os.path.isdir(path):
        return "." not in os.path.basename(path) and any(
            os.path.isfile(os.path.join(path, f"__init__{end}")) for end in ENDS
        )
    return path.endswith(ENDS)


def places() -> list[str]:
    """Where Python looks before its own modules, when a check, an exercise or a lesson runs."""
    own = os.environ.get("ZERO_REF_EXERCISES")
    home = os.path.realpath(getattr(sys.modules.get("lessons"), "HOME", ROOT))  # a student's folder
    OF_THE_COURSE.add(os.path.join(home, "lessons"))
    lessons = os.path.join(home, "lessons")
    students = [] if home == ROOT else [os.path.join(lessons, "exercises"), lessons, home]
    return [*filter(None, [own]), *students, EXERCISES, LESSONS, ROOT]


def refuse() -> None:
    """End this program with one line, in both languages, where it would get such a file itself."""
    first = os.path.realpath(sys.path[0]) if sys.path else ROOT
    found = find([first, *(path for path in (EXERCISES, LESSONS, ROOT) if path in sys.path)])
    if found and first not in (os.path.dirname(sys.executable), os.path.dirname(os.__file__)):
        file, module = (part.encode("ascii", "backslashreplace").decode() for part in found[0])
        zh = f"{file} 和 Python 的模块 {module} 同名，程序会把它当成那个模块。请改名。"
        en = f"{file} has the name of the module {module} and is taken for it: rename it."
        text = f"{zh} · {en}\n".encode(getattr(sys.stderr, "encoding", None) or "utf-8", "backslashreplace")
        os.write(2, text)
        sys.exit(2)
