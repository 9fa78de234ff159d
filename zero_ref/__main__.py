"""The commands: `zero-ref train --stage 3` is `python -m zero_ref.train --stage 3`.

A command runs in this process as `python -m` would run it: it imports the same modules in the same order, and
finds its options before MPI starts.
"""

import runpy
import sys

import zero_ref
from zero_ref import launch
from zero_ref.launch import UsageError

COMMANDS = {  # name: what it does, in Chinese and in English
    "train": ("训练：mpirun -n 4 zero-ref train --stage 3", "train: mpirun -n 4 zero-ref train --stage 3"),
    "plan": ("训练之前先算：放不放得下，一步要多久", "before training: does it fit, and how long is a step"),
    "predict": ("用训练好的模型算输出", "the outputs of a trained model"),
    "generate": ("用训练好的 GPT 生成文本", "text from a trained GPT"),
    "report": ("把运行记录画成网页，或打印成文字", "a page, or text, from the records of runs"),
    "explore": ("写出规划器的网页，上面有滑块", "the planner as a page with sliders"),
    "checkpoint": ("查看检查点，或取出其中的模型", "look into a checkpoint, or take its model out"),
    "learn": (
        "课程和练习；第一次用：zero-ref learn new 目录",
        "lessons and exercises; first: zero-ref learn new DIR",
    ),
}
TEXTS = {
    "zh": ("zero-ref 命令 [选项]，或者 python -m zero_ref.命令 [选项]", "每个命令都有 --help 和 --version。"),
    "en": (
        "zero-ref COMMAND [options], or python -m zero_ref.COMMAND [options]",
        "Each of them has --help and --version.",
    ),
}


def main() -> None:
    """The command that the first word of the command line names."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name not in COMMANDS:
        launch.run(lambda: answer(name))
        return
    del sys.argv[0]
    runpy.run_module(f"zero_ref.{name}", run_name="__main__", alter_sys=True)


def answer(word: str) -> None:
    """All commands, or the version. Raises UsageError for any other word."""
    if word not in ("-h", "--help", "--version"):
        raise UsageError(f"there is no command {word!r}; there are {', '.join(COMMANDS)}")
    if launch.rank_by_launcher() == 0:
        launch.say(f"zero_ref {zero_ref.__version__}" if word == "--version" else listing(launch.language()))


def listing(language: str) -> str:
    """The commands, a line each, in the reader's language."""
    head, foot = TEXTS[language]
    lines = [f"  {name:<12}{texts[language == 'en']}" for name, texts in COMMANDS.items()]
    return "\n".join([head, "", *lines, "", foot])


if __name__ == "__main__":
    main()
