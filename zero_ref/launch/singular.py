"""English of one: a text of words.json with "{ranks} ranks", and number_of(n, "ranks"), say "1 rank"."""

import re

NOUNS = (
    *("all-gathers", "arrays", "bits", "blocks", "buckets", "bytes", "calls", "characters", "checks"),
    *("classes", "codes", "columns", "cores", "elements", "epochs", "events", "exercises", "features"),
    *("files", "groups", "inputs", "layers", "lessons", "lines", "matrices", "messages", "micro-batches"),
    *("names", "nodes", "notes", "numbers", "outputs", "parameters", "pieces", "ranks", "results", "rounds"),
    *("runs", "samples", "shards", "slices", "steps", "students", "tiles", "times", "tokens", "units"),
    *("values", "weights", "equal shards", "good steps", "largest units", "learned positions"),
    *("more ranks", "other ranks", "wrong answers"),
)
IRREGULAR = {"classes": "class", "matrices": "matrix", "micro-batches": "micro-batch"}
SINGULAR = {noun: IRREGULAR.get(noun, noun.removesuffix("s")) for noun in NOUNS}
COUNTED = re.compile(rf"(\{{\w+[^{{}}]*\}}) ({'|'.join(NOUNS)})\b")


class Text(str):
    """A text of words.json. "{steps} steps of {batch}" with steps=1 is formatted as "1 step of ..."."""

    def format(self, *arguments: object, **values: object) -> str:
        def one(found: re.Match[str]) -> str:
            alone = str.format(found[1], **values) == "1"
            return f"{found[1]} {SINGULAR[found[2]]}" if alone else found[0]

        return str.format(COUNTED.sub(one, self), *arguments, **values)


def number_of(number: int, noun: str) -> str:
    """ "1 rank", "1,024 ranks"; noun: one of NOUNS."""
    return f"{number:,} {SINGULAR[noun] if number == 1 else noun}"
