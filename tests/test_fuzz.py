"""Mutated checkpoints: each is refused with one clear error, or read exactly as it is; nothing else.

`make test-all` tries 1,500, always the same ones, and `make test` 300 of them; `make fuzz` ten thousand new
ones of each kind (FUZZ=10000).
A mutation changes bytes of any file, or the manifest's values, or a shard's header. Where it signs what
it has changed, with sizes and SHA-256s as a writer would, all checks behind the sums have to hold, too.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from checkpoints import STEP, Case, Threads, written
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from zero_ref.checkpoint import MANIFEST, Checkpoint, decode, encode, file_name, find, saving, signed
from zero_ref.launch import UsageError
from zero_ref.train import options

EXAMPLES = int(os.environ.get("FUZZ", 300))
fuzz = settings(
    max_examples=EXAMPLES,
    derandomize="FUZZ" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
FILES = [MANIFEST, *(file_name(rank) for rank in range(3))]
NUMBERS = st.one_of(
    st.integers(-3, 60), st.sampled_from([2**31, 2**53, 2**62, 2**63, 2**64, -(2**63), 10**30, 1e308, 0.5])
)
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["../x", "/etc/passwd", "layers.0", "param", "float16", "\0", "0" * 64]),
    st.sampled_from(["--help", "--save=x", "--seed=5", "--hidden=7", "--init=x", "--lr=nan", "more"]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """(folder of a good checkpoint by three ranks, what it holds)."""
    path = written(tmp_path_factory.mktemp("good"), 3, stage=2, rule="hash")
    return path, taken_up(path)


def taken_up(path):
    """What a resumed run, an export and a prediction would take from a checkpoint."""
    opened = Checkpoint(find(str(path)))
    opened.verify()
    options.parse(["--resume", "x"], opened.manifest.arguments)
    case = Case(Threads(2, 1), stage=1)
    saving.check_fits(opened, case.units, case.units[0].optimizer, case.guard)
    saving.restore(opened, case)
    arrays = [vector.tobytes() for u in case.units for vector in u.optimizer.state().values()]
    tensors = {name: opened.tensor(name).tobytes() for name in opened.names()}
    return arrays, tensors, opened.manifest.step, opened.manifest.optimizer_steps, case.guard.steps


def attempt(good, mutate, data, exact):
    """Mutate a copy; it has to be refused, or, if nothing may change unseen (`exact`), to be the same."""
    path, contents = good
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"step-{STEP:08d}"
        shutil.copytree(path, copy)
        mutate(copy, data)
        try:
            found = taken_up(copy)
        except UsageError as error:
            assert len(str(error)) > 0 and "\n" not in str(error)
            event("refused")
            return
        event("read")
        assert found == contents or not exact
        assert [len(a) for a in found[0]] == [len(a) for a in contents[0]]


def mutated_bytes(content, data):
    """Some bytes changed, cut out, put in, or copied from elsewhere."""
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content)))
        kind = data.draw(st.sampled_from(("flip", "cut", "put", "truncate", "double")))
        if kind == "flip" and place < len(content):
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del content[place : place + data.draw(st.integers(1, 9))]
        elif kind == "put":
            content[place:place] = data.draw(st.binary(min_size=1, max_size=9))
        elif kind == "truncate":
            del content[place:]
        else:
            content[place:place] = content[place : place + 40]
    return bytes(content)


def mutated_tree(tree, data):
    """The tree with a value somewhere in it replaced, removed, doubled or given another name."""
    if not (isinstance(tree, (dict, list)) and tree and data.draw(st.integers(0, 5))):
        return data.draw(VALUES)
    key = data.draw(st.sampled_from(list(tree) if isinstance(tree, dict) else range(len(tree))))
    kind = data.draw(st.sampled_from(("inside", "inside", "inside", "remove", "double", "rename")))
    if kind == "inside" or (kind == "double" and isinstance(tree, dict)):
        tree[key] = mutated_tree(tree[key], data)
    elif kind == "remove":
        del tree[key]
    elif isinstance(tree, list):
        tree.insert(key, tree[key])
    else:
        tree[data.draw(TEXTS)] = tree.pop(key)
    return tree


def sign(copy):
    """Give the manifest the sizes and SHA-256s of the shards as they are now."""
    manifest = decode((copy / MANIFEST).read_bytes())
    for file in manifest.files:
        content = (copy / file.name).read_bytes()
        file.bytes, file.sha256 = len(content), hashlib.sha256(content).hexdigest()
    (copy / MANIFEST).write_bytes(encode(manifest))


@fuzz
@given(st.data())
def test_changed_bytes_are_refused_or_nothing_has_changed(good, data):
    def mutate(copy, data):
        file = copy / data.draw(st.sampled_from(FILES))
        file.write_bytes(mutated_bytes(file.read_bytes(), data))

    attempt(good, mutate, data, exact=True)


@pytest.mark.rest("300 examples")
@fuzz
@given(st.data())
def test_a_signed_shard_is_refused_or_read(good, data):
    def mutate(copy, data):
        file = copy / data.draw(st.sampled_from(FILES[1:]))
        file.write_bytes(mutated_bytes(file.read_bytes(), data))
        sign(copy)

    attempt(good, mutate, data, exact=False)


@pytest.mark.rest("300 examples")
@fuzz
@given(st.data())
def test_a_signed_header_is_refused_or_read(good, data):
    def mutate(copy, data):
        file = copy / data.draw(st.sampled_from(FILES[1:]))
        content = file.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.dumps(mutated_tree(json.loads(content[8 : 8 + length]), data)).encode()
        file.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
        sign(copy)

    attempt(good, mutate, data, exact=False)


@pytest.mark.rest("300 examples")
@fuzz
@given(st.data())
def test_a_signed_manifest_is_refused_or_read(good, data):
    def mutate(copy, data):
        manifest = json.loads((copy / MANIFEST).read_bytes())
        del manifest["sha256"]
        head = json.dumps(mutated_tree(manifest, data)).encode().removesuffix(b"}")
        (copy / MANIFEST).write_bytes(signed(head))

    attempt(good, mutate, data, exact=False)


@pytest.mark.rest("300 examples")
@fuzz
@given(st.data())
def test_changed_folders_are_refused(good, data):
    def mutate(copy, data):
        name = data.draw(st.sampled_from(FILES))
        kind = data.draw(st.sampled_from(("remove", "rename", "link", "swap", "extra", "folder", "hidden")))
        if kind in ("remove", "folder"):
            (copy / name).unlink()
        if kind == "folder":
            (copy / name).mkdir()
        if kind == "rename":
            (copy / name).rename(copy / (name + "x"))
        if kind == "link":
            (copy / name).rename(copy.parent / "away")
            (copy / name).symlink_to(copy.parent / "away")
        if kind == "swap":
            other = copy / data.draw(st.sampled_from([f for f in FILES if f != name]))
            (copy / name).rename(copy / "t")
            other.rename(copy / name)
            (copy / "t").rename(other)
        if kind in ("extra", "hidden"):
            (copy / {"extra": "more", "hidden": ".more"}[kind]).write_bytes(data.draw(st.binary(max_size=9)))

    attempt(good, mutate, data, exact=True)


def test_the_good_one_is_taken_up(good):
    assert good[1][2] == STEP and len(good[1][1]) == 6
