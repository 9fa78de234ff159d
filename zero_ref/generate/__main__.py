"""The command: text from a language model that no rank ever has whole.

    mpirun -n 4 python -m zero_ref.generate --checkpoint DIR --prompt TEXT --tokens 200 --temperature 0.8

Each rank keeps 1/N of every unit, as at stage 3, and one unit at a time is gathered, used and dropped.
"""

import argparse

import numpy as np

from zero_ref import launch
from zero_ref.datasets import texts
from zero_ref.generate.sampling import How, generate
from zero_ref.launch import UsageError
from zero_ref.launch.cli import Parser, above_0, add_language, natural, number, positive, rate
from zero_ref.launch.terminal import words_of
from zero_ref.launch.together import on_rank_0
from zero_ref.predict import bytes_held, open_model, tell_of_model

MOST_SAMPLES = 1 << 16
SHOWN = 8  # characters that a message names
samples = number(int, 1, f"a whole number from 1 to {MOST_SAMPLES:,}", below=MOST_SAMPLES + 1)


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = Parser(prog="zero_ref.generate", description="Text from a trained GPT.", allow_abbrev=False)
    add = p.add_argument
    add("--checkpoint", metavar="DIR", required=True, help="a checkpoint, or a folder of them: the newest")
    add(
        "--prompt",
        metavar="TEXT",
        type=lambda text: text or None,
        help="what to go on with (default: nothing)",
    )
    add("--tokens", type=positive, default=200, metavar="T", help="characters to write (default 200)")
    add("--temperature", type=rate, default=0.8, metavar="T", help="0: always the likeliest (default 0.8)")
    add("--top-k", type=positive, metavar="K", help="draw from the K likeliest only (default: from all)")
    add("--seed", type=natural, default=0, help="of the random numbers (default 0)")
    add("--samples", type=samples, default=1, metavar="M", help="texts, dealt to the ranks (default 1)")
    add("--stop", metavar="TEXT", help="end a text before this")
    add("--device", choices=("auto", "cpu", "gpu"), default="auto")
    add("--timeout", type=above_0, default=60.0, metavar="S", help="seconds a rank may wait")
    add_language(p)
    return p


def main(arguments: list[str] | None = None) -> None:
    """Print the texts; what there is to say of prompt and model goes to stderr."""
    o = parser().parse_args(arguments)
    comm, checkpoint, units = open_model(o)
    m = checkpoint.manifest
    if not m.alphabet:
        raise UsageError(
            f"--checkpoint {o.checkpoint}: its model is not of text, as those of --model gpt are"
        )
    if o.stop and set(o.stop) - set(m.alphabet):
        raise UsageError(f"--stop {o.stop}: the model's alphabet has no {listed(o.stop, m.alphabet)}")
    word = words_of("zero_ref.generate", o.language)
    prompt, how = o.prompt or "", How(o.tokens, o.temperature, o.top_k, o.seed, o.stop)
    if comm.rank == 0:
        for line in about_prompt(prompt, m.alphabet, m.features, word):
            launch.tell(f"zero_ref: {line}\n")
    with np.errstate(over="ignore", invalid="ignore"):
        found = generate(
            units, lambda u: comm.all_gather(u.param, u.layout), comm, m.task, how, prompt, o.samples
        )
    whole, held = bytes_held(comm, units)

    def tell() -> None:
        heads = [word["sample"].format(number=i + 1, samples=o.samples) for i in range(o.samples)]
        lines = [part for pair in zip(heads, (prompt + text for text in found)) for part in pair]
        launch.say("\n".join(lines if o.samples > 1 else lines[1:]))
        launch.tell(f"zero_ref: {tell_of_model(m.step, whole, held, o.language)}\n")

    on_rank_0(comm, tell)


def about_prompt(prompt: str, alphabet: str, context: int, word: dict[str, str]) -> list[str]:
    """What a reader has to know of a prompt that the model cannot take as it is."""
    unknown = int((texts.encode(prompt, alphabet) == len(alphabet)).sum()) if prompt else 0
    said = []
    if unknown:
        shown = listed(prompt, alphabet)
        said.append(word["unknown"].format(unknown=f"{unknown:,}", characters=shown))
    if len(prompt) > context:
        said.append(word["long"].format(length=f"{len(prompt):,}", context=f"{context:,}"))
    return said


def listed(text: str, alphabet: str) -> str:
    """The characters of a text that an alphabet lacks, each once, the first of them."""
    lacking = [character for character in dict.fromkeys(text) if character not in alphabet]
    return " ".join(map(ascii_or_self, lacking[:SHOWN])) + (" ..." if len(lacking) > SHOWN else "")


def ascii_or_self(character: str) -> str:
    """A character as a message can show it."""
    return character if character.isprintable() and not character.isspace() else ascii(character)


if __name__ == "__main__":
    launch.run(main)
