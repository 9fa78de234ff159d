"""Make a page of what no machine here holds: a GPT of GPT-3's size on 1,024 ranks, by a dry run.

    make figures      python docs/figures/large.py docs/figures

FOLDER/gpt3.html. Two of the ranks are looked at, the first and the last: all others do the same with their
own shards. The text is as long as a window for each rank needs, the novel over and over.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import zero_ref

RANKS, CONTEXT = 1024, 2048
# 174 billion parameters: GPT-3 has a larger alphabet, and with it 175.
SHAPE = f"--model gpt --layers 96 --width 12288 --heads 96 --context {CONTEXT}"
HOW = f"--stage 3 --dtype bfloat16 --recompute --batch-size {RANKS} --test-fraction 0 --language en"


def main(folder: str) -> None:
    """Write the page; CalledProcessError if the dry run fails."""
    novel = (Path(zero_ref.__file__).parent / "datasets" / "persuasion.txt").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as place:
        copies = (RANKS + 2) * CONTEXT // len(novel) + 1
        Path(place, "novel.txt").write_text(novel * copies, encoding="utf-8")
        line = f"--quiet --device meta --ranks {RANKS} {SHAPE} {HOW} --data novel.txt"
        command = [sys.executable, "-m", "zero_ref.train", *line.split(), "--report", "gpt3.html"]
        root = str(Path(zero_ref.__file__).parent.parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        subprocess.run(command, cwd=place, check=True, env=os.environ | {"PYTHONPATH": path})
        shutil.move(Path(place, "gpt3.html"), Path(folder, "gpt3.html"))


if __name__ == "__main__":
    main(*sys.argv[1:])
