"""Many right answers and many that hang: is any right one taken for a hang, is any hang not named?

python tests/soak.py                  1,000 right ones and 200 that hang, as docs/measurements.md has it
python tests/soak.py 40 12 --load 0   fewer of both, on an idle machine

The answers are to exercise 06. All of them pause at random places for up to 20 ms, some ranks longer than
others, and on top of that other processes keep the cores busy.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from confusion import answers  # noqa: E402

from lessons.checker import checking  # noqa: E402
from lessons.checker.ranks.runner import Job  # noqa: E402

EXERCISE = "06_ring_reduce_scatter"
LOOP = "    for hop in range(1, comm.size):\n"
TALK = "arriving = comm.sendrecv(partial, right, left)"
PAUSE = """import random
import time


def pause():
    time.sleep(random.random() * random.choice((0, 0, 0.002, 0.02)))


"""

# Name -> (the diagnosis that it must get, changes to the solution). {rank} and {hop} are drawn.
HANGS = {
    "all send first": ("hang_circle", TALK, "comm.send(partial, right); pause(); arriving = comm.recv(left)"),
    "all receive first": ("hang_circle", TALK, "arriving = comm.recv(left); comm.send(partial, right)"),
    "one leaves early": (
        "hang_absent",
        LOOP,
        f"    if comm.rank == {{rank}}:\n        return partial\n{LOOP}",
    ),
    "one leaves in between": (
        "hang_absent",
        TALK,
        f"if hop == {{hop}} and comm.rank == {{rank}}:\n            return partial\n        {TALK}",
    ),
    "one waits for one message more": (
        "hang_absent",
        "return partial",
        "if comm.size > 1 and comm.rank == {rank}:\n        comm.recv(left)\n    return partial",
    ),
    "one sends one message more": (
        "hang_absent",
        "return partial",
        "if comm.size > 1 and comm.rank == {rank}:\n        comm.send(partial, right)\n    return partial",
    ),
    "one goes the other way round": (
        "hang_circle",
        "    partial = x[",
        "    if comm.rank == {rank} and comm.size > 2:\n        right, left = left, right\n    partial = x[",
    ),
}


def text_of(name: str, chance: random.Random) -> tuple[str, str]:
    """An answer, and the diagnosis that it must get. name: "" for a right one."""
    text = answers(EXERCISE)[""]
    key = ""
    if name:
        key, old, new = HANGS[name]
        assert old in text, name
        rank = chance.randrange(2)
        text = text.replace(old, new.format(rank=rank, hop=1))
    text = text.replace(LOOP, f"{LOOP}        pause()\n")
    return text.replace("def ring", f"{PAUSE}def ring", 1), key


def round_of(names: list[str], chance: random.Random, limit: float) -> list[tuple[str, str, checking.Result]]:
    """One launch of the ranks: (name, wanted diagnosis, result) of each answer."""
    with tempfile.TemporaryDirectory() as folder:
        jobs, wanted = [], []
        for number, name in enumerate(names):
            text, key = text_of(name, chance)
            file = Path(folder) / f"{number}.py"
            file.write_text(text)
            jobs.append(Job(EXERCISE, str(file), str(chance.random())))
            wanted.append(key)
        return list(zip(names, wanted, checking.check(jobs, limit)))


def soak(right: int, hanging: int, each: int, seed: int, limit: float = 60.0) -> dict[str, list]:
    """All of them, `each` to a launch: "false" hangs, "missed" ones, "seconds" of those that hang."""
    chance = random.Random(seed)
    names = [""] * right + [list(HANGS)[i % len(HANGS)] for i in range(hanging)]
    chance.shuffle(names)
    found: dict[str, list] = {"false": [], "missed": [], "seconds": []}
    for start in range(0, len(names), each):
        for name, wanted, result in round_of(names[start : start + each], chance, limit):
            key = result.diagnosis.key if result.diagnosis else ""
            if key != wanted:
                found["missed" if name else "false"].append((name, key))
            if name:
                found["seconds"].append(result.outcome.seconds)
    return found


def main() -> int:
    """Returns how many were taken for something else, at most 1."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("right", nargs="?", type=int, default=1000)
    p.add_argument("hanging", nargs="?", type=int, default=200)
    p.add_argument("--each", type=int, default=20, help="answers to a launch of the ranks")
    p.add_argument("--load", type=int, default=4, help="processes that keep the cores busy")
    p.add_argument("--seed", type=int, default=1)
    o = p.parse_args()
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(o.load)]
    begun = time.monotonic()
    try:
        found = soak(o.right, o.hanging, o.each, o.seed)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    seconds = sorted(found["seconds"])
    print(f"{o.right} right answers: {len(found['false'])} taken for something else {found['false'][:5]}")
    print(f"{o.hanging} that hang: {len(found['missed'])} not named {found['missed'][:5]}")
    if seconds:
        middle, most = seconds[len(seconds) // 2], seconds[-1]
        print(f"one that hangs took {middle:.2f} s, at most {most:.2f} s, the trials before it included")
    print(f"{o.load} processes beside, {time.monotonic() - begun:.0f} s in all")
    return int(bool(found["false"] or found["missed"]))


if __name__ == "__main__":
    sys.exit(main())
