"""Checkpoints without MPI: every way to shard a state and take it up again, and everything that can be
wrong with a file."""

import hashlib
import itertools
import json
import os
import shutil
import sys
import weakref

import msgspec
import numpy as np
import pytest
from checkpoints import STEP, WIDTHS, Case, Threads, on_threads, values, written
from safetensors.numpy import load, load_file, save, save_file

from zero_ref import checkpoint
from zero_ref.checkpoint import MANIFEST, Checkpoint, decode, encode, find, newest, saving, signed
from zero_ref.checkpoint.__main__ import export, inspect
from zero_ref.launch import CleanEnd, UsageError

SHARDINGS = [
    dict(rule="contiguous"),
    dict(rule="random"),
    dict(rule="hash"),
    dict(shares="falling"),
    dict(shares="last"),
]


def sharding(number, size):
    chosen = dict(SHARDINGS[number])
    if "shares" in chosen:
        falling = chosen["shares"] == "falling"
        chosen["shares"] = list(range(size, 0, -1)) if falling else [0] * (size - 1) + [1]
    return chosen


@pytest.mark.parametrize("dtype", ("float16", "float32"))
@pytest.mark.parametrize("kind", ("adam", "sgd"))
@pytest.mark.parametrize("before", range(5))
def test_any_ranks_rule_and_stage_take_up_any_other_in_bits(before, dtype, kind, tmp_path):
    same = dict(dtype=dtype, kind=kind)
    for number, (size, stage) in enumerate(itertools.product((1, 3, 4), range(4))):
        if (number + before) % 2:  # every second one: each size and each stage stays
            continue
        folder = tmp_path / f"{size}-{stage}"
        path = written(folder, size, stage=stage, **sharding(before, size), **same)
        opened = Checkpoint(path)
        opened.verify()
        for after, (again, new_stage) in itertools.product(range(5), ((1, 2), (2, 0), (3, 3), (5, 1))):
            for rank in range(again):
                case = Case(Threads(again, rank), new_stage, **sharding(after, again), **same)
                saving.check_fits(opened, case.units, case.units[0].optimizer, case.guard)
                saving.restore(opened, case)
                for u in case.units:
                    for name, vector in u.optimizer.state().items():
                        assert np.array_equal(vector, case.expected(u, name, vector)), (u.layout.name, name)
                    assert u.optimizer.steps == 11
                assert case.guard.steps == STEP
                if dtype == "float16":
                    assert (case.guard.scale, case.guard.good, case.guard.skipped) == (512.0, 5, 6)
                    for u in case.units:
                        given = np.full(u.optimizer.master.size, 2, dtype)
                        u.optimizer.update(given, given, 0.0)
                        kept = case.expected(u, "master", u.optimizer.master)
                        assert np.array_equal(u.optimizer.master, kept), "the next update forgets the master"


@pytest.mark.parametrize("size, stage", [(1, 0), (3, 1), (4, 3)])
@pytest.mark.parametrize("rule", ("contiguous", "random", "hash"))
@pytest.mark.parametrize("dtype", ("float64", "bfloat16"))
def test_a_model_starts_from_its_tensors(size, stage, rule, dtype, tmp_path):
    opened = Checkpoint(written(tmp_path, size, stage=stage, rule=rule, dtype=dtype))
    found = {name: opened.tensor(name) for name in opened.names()}
    assert {name: t.shape for name, t in found.items()} == {
        f"layers.{i}.{n}": s
        for i, (a, b) in enumerate(itertools.pairwise(WIDTHS))
        for n, s in (("weight", (b, a)), ("bias", (b,)))
    }
    for unit in opened.elements:
        flat = np.concatenate([found[f"{unit}.weight"].ravel(), found[f"{unit}.bias"]])
        assert np.array_equal(flat, values(unit, "param", len(flat), dtype))
    for start, stop in itertools.combinations(range(0, 50, 7), 2):
        part = opened.read("layers.0", "m", start, stop)
        wide = "float32" if dtype == "bfloat16" else dtype
        assert np.array_equal(part, values("layers.0", "m", 49, wide)[start:stop])


def test_no_rank_writes_more_than_its_shard(tmp_path):
    for stage in range(4):
        path = written(tmp_path / str(stage), 3, stage=stage, rule="hash")
        sizes = [load_file(file) for file in sorted(path.glob("*.safetensors"))]
        assert sum(t.size for file in sizes for t in file.values()) == 3 * (49 + 40 + 18)
        assert sum(file["layers.0/m"].size for file in sizes) == 49, "padding is no data"


def test_the_manifest_says_what_is_where(tmp_path):
    path = written(tmp_path, 2)
    text = json.loads((path / MANIFEST).read_text())
    assert text["step"] == STEP and text["optimizer_steps"] == 11 and text["loss_scale"] is None
    assert text["units"]["layers.2"] == {"weight": [3, 5], "bias": [3]}
    assert [file["ranges"]["layers.0"] for file in text["files"]] == [[[0, 25]], [[25, 49]]]
    for file in text["files"]:
        content = (path / file["name"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("columns", [None, [*"abcdef", "target"]])
def test_the_names_of_columns_are_kept_and_older_checkpoints_have_none(columns, tmp_path):
    path = written(tmp_path, 2)
    edit(lambda m: m.pop("columns") if columns is None else m.update(columns=columns))(path)
    assert Checkpoint(path).manifest.task.columns == columns


def test_only_the_latest_are_kept_and_nothing_else_is_touched(tmp_path):
    (tmp_path / "step-notes.part").mkdir()
    (tmp_path / "mine").write_text("x")
    (tmp_path / "step-00000003.part").mkdir()  # a run was killed here
    for step in (1, 2, 3, 10):
        written(tmp_path, 2, step=step, keep=2)
    assert sorted(os.listdir(tmp_path)) == ["mine", "step-00000003", "step-00000010", "step-notes.part"]
    assert newest(tmp_path).name == "step-00000010" and find(str(tmp_path)).name == "step-00000010"
    assert find(str(tmp_path / "step-00000003")).name == "step-00000003"
    written(tmp_path, 2, step=11)
    assert len(list(tmp_path.glob("step-0*"))) == 3, "without --keep all stay"


# What can be wrong. Each entry damages a good checkpoint; the error has to name the file.


def edit(change, sign=True):
    """A way to damage: change(the manifest as a dict), written with a new digest or the old one."""

    def damage(path):
        text = (path / MANIFEST).read_bytes()
        manifest = json.loads(text)
        old = manifest.pop("sha256")
        change(manifest)
        head = json.dumps(manifest).encode().removesuffix(b"}")
        new = signed(head) if sign else head + f',\n"sha256": "{old}"\n}}\n'.encode()
        (path / MANIFEST).write_bytes(new)

    return damage


def resigned(name, content):
    """A way to damage: the file gets other content, and the manifest its size and SHA-256."""

    def damage(path):
        data = content((path / name).read_bytes())
        (path / name).write_bytes(data)
        manifest = decode((path / MANIFEST).read_bytes())
        for file in manifest.files:
            if file.name == name:
                file.bytes, file.sha256 = len(data), hashlib.sha256(data).hexdigest()
        (path / MANIFEST).write_bytes(encode(manifest))

    return damage


def flip(name, place):
    def damage(path):
        data = bytearray((path / name).read_bytes())
        data[place] ^= 1
        (path / name).write_bytes(data)

    return damage


def tensors(change):
    def content(data):
        arrays = load(data)
        change(arrays)
        return save(arrays)

    return content


def swap(path):
    first, second = (path / checkpoint.file_name(i) for i in (0, 1))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def to_link(path):
    file = path / R1
    file.rename(path.parent / "elsewhere")
    file.symlink_to(path.parent / "elsewhere")


def manifest_link(path):
    (path / MANIFEST).rename(path.parent / "elsewhere")
    (path / MANIFEST).symlink_to(path.parent / "elsewhere")


def fifo(path):
    (path / MANIFEST).unlink()
    os.mkfifo(path / MANIFEST)


def of_another_step(path):
    other = written(path.parent / "other", 3, step=18, kind="adam", stage=1)
    for file in (MANIFEST,):
        shutil.copy(other / file, path / file)
    content = bytearray((other / R1).read_bytes())
    content[-1] ^= 1
    (path / R1).write_bytes(content)


R0, R1 = "rank-00000.safetensors", "rank-00001.safetensors"
DAMAGE = {
    "a truncated shard": (lambda p: os.truncate(p / R1, 100), R1),
    "an empty shard": (lambda p: os.truncate(p / R1, 0), R1),
    "a longer shard": (lambda p: (p / R1).write_bytes((p / R1).read_bytes() + b"x"), R1),
    "a flipped bit in a number": (flip(R1, -1), R1),
    "a flipped bit in a header": (flip(R1, 20), R1),
    "a missing shard": (lambda p: (p / R1).unlink(), R1),
    "swapped shards": (swap, R0),
    "an extra file": (lambda p: (p / "more").write_text(""), "more"),
    "an extra folder": (lambda p: (p / "more").mkdir(), "more"),
    "a shard that is a link": (to_link, R1),
    "a shard that is a folder": (lambda p: ((p / R1).unlink(), (p / R1).mkdir()), R1),
    "a manifest that is a link": (manifest_link, MANIFEST),
    "a manifest that is a pipe": (fifo, MANIFEST),
    "a manifest of another step": (of_another_step, R1),
    "no manifest": (lambda p: (p / MANIFEST).unlink(), "no complete checkpoint"),
    "an empty manifest": (lambda p: os.truncate(p / MANIFEST, 0), MANIFEST),
    "a truncated manifest": (lambda p: os.truncate(p / MANIFEST, 400), MANIFEST),
    "a huge manifest": (lambda p: os.truncate(p / MANIFEST, 1 << 40), MANIFEST),
    "a flipped bit in the manifest": (flip(MANIFEST, 300), MANIFEST),
    "a changed manifest": (edit(lambda m: m.update(step=18), sign=False), MANIFEST),
    "another format": (edit(lambda m: m.update(format="zero_ref checkpoint 2")), "checkpoint 2"),
    "a field too many": (edit(lambda m: m.update(more=1)), MANIFEST),
    "a field too few": (edit(lambda m: m.pop("arguments")), MANIFEST),
    "a step that is no number": (edit(lambda m: m.update(step=True)), MANIFEST),
    "a column too few": (edit(lambda m: m.update(columns=[])), MANIFEST),
    "a negative step": (edit(lambda m: m.update(step=-1)), MANIFEST),
    "a scale of 0": (edit(lambda m: m.update(loss_scale=dict(scale=0, good=0, skipped=0))), MANIFEST),
    "a hostile name": (edit(lambda m: m["files"][1].update(name="../../etc/passwd")), MANIFEST),
    "an absolute name": (edit(lambda m: m["files"][1].update(name="/etc/passwd")), MANIFEST),
    "a name twice": (edit(lambda m: m["files"][1].update(name=R0)), MANIFEST),
    "no files": (edit(lambda m: m.update(files=[])), R0),
    "no units": (edit(lambda m: [m.update(units={}), *(f["ranges"].clear() for f in m["files"])]), MANIFEST),
    "a gap": (edit(lambda m: m["files"][0]["ranges"].update({"layers.0": [[0, 16]]})), "layers.0"),
    "an overlap": (edit(lambda m: m["files"][0]["ranges"].update({"layers.0": [[0, 18]]})), "layers.0"),
    "a range backwards": (
        edit(lambda m: m["files"][0]["ranges"].update({"layers.0": [[0, 17], [17, 17]]})),
        "layers.0",
    ),
    "a unit that is not in a file": (edit(lambda m: m["files"][0]["ranges"].pop("layers.0")), R0),
    "a tensor of another shape": (edit(lambda m: m["units"]["layers.0"].update(weight=[7, 7])), "layers.0"),
    "a tensor beyond all memory": (
        edit(lambda m: m["units"]["layers.0"].update(weight=[1 << 60, 1 << 60])),
        "layers.0",
    ),
    "a vector of another type": (edit(lambda m: m["vectors"].update(m="float64")), R0),
    "a vector that nobody has": (edit(lambda m: m["vectors"].update(velocity="float32")), R0),
    "no parameters": (edit(lambda m: m["vectors"].pop("param")), MANIFEST),
    "a tensor that no model has": (edit(lambda m: m["units"]["layers.0"].update({"a.b": [0]})), "its model"),
    "two tensors of one name": (edit(lambda m: m.update(prefixes={"layers.0": "layers.1."})), MANIFEST),
    "another prefix": (edit(lambda m: m.update(prefixes={"layers.0": "x."})), "its model"),
    "an alphabet too short": (edit(lambda m: m.update(alphabet="abcdefgh")), MANIFEST),
    "deep nesting": (lambda p: (p / MANIFEST).write_bytes(signed(b'{"units":' + b"[" * 10**6)), MANIFEST),
    "text that is no UTF-8": (lambda p: (p / MANIFEST).write_bytes(signed(b'{"\xff":1')), MANIFEST),
    "a foreign shard": (resigned(R1, lambda _: b"PK\3\4" + bytes(500)), R1),
    "an oversized header": (resigned(R1, lambda d: (1 << 60).to_bytes(8, "little") + d[8:]), R1),
    "a header of 200 MB": (resigned(R1, lambda d: (200 << 20).to_bytes(8, "little") + d[8:]), R1),
    "an array too many": (resigned(R1, tensors(lambda a: a.update(x=np.zeros(3)))), R1),
    "an array too few": (resigned(R1, tensors(lambda a: a.pop("layers.0/m"))), R1),
    "an array of another length": (
        resigned(R1, tensors(lambda a: a.update({"layers.0/m": a["layers.0/m"][1:]}))),
        R1,
    ),
    "an array of another type": (
        resigned(R1, tensors(lambda a: a.update({"layers.0/m": a["layers.0/m"].astype("i4")}))),
        R1,
    ),
}


def read_all(path):
    """Everything a checkpoint holds, as bytes; what a resumed run would do with it."""
    opened = Checkpoint(find(str(path)))
    opened.verify()
    m = opened.manifest
    arrays = [opened.read(unit, v, 0, n).tobytes() for unit, n in opened.elements.items() for v in m.vectors]
    case = Case(Threads(2, 1), stage=1)
    saving.check_fits(opened, case.units, case.units[0].optimizer, case.guard)
    saving.restore(opened, case)
    return [opened.tensor(name).tobytes() for name in opened.names()], arrays, m.step, m.optimizer_steps


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_wrong_is_named_in_one_error(damage, tmp_path):
    path = written(tmp_path, 3)
    read_all(path)
    act, name = DAMAGE[damage]
    act(path)
    with pytest.raises(UsageError) as error:
        read_all(path)
    assert name in str(error.value) and "\n" not in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("where", ["nowhere", "", "a-file", "a\0b", "x" * 5000, "empty"])
def test_where_there_is_no_checkpoint(where, tmp_path):
    (tmp_path / "a-file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "step-00000001").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="--resume"):
        find(str(tmp_path / where) if where else str(tmp_path / "empty"))


def test_a_checkpoint_of_another_model_does_not_fit(tmp_path):
    opened = Checkpoint(written(tmp_path, 2))
    for settings in (dict(kind="sgd"), dict(dtype="float64"), dict(dtype="float16")):
        case = Case(Threads(1, 0), **settings)
        with pytest.raises(UsageError, match="of its own options"):
            saving.check_fits(opened, case.units, case.units[0].optimizer, case.guard)
    case = Case(Threads(1, 0))
    case.units.pop()
    with pytest.raises(UsageError, match="of its own options"):
        saving.check_fits(opened, case.units, case.units[0].optimizer, case.guard)


# Writing goes wrong.


@pytest.mark.parametrize("rank", range(3))
def test_a_full_disk_on_one_rank_is_named_on_all_and_leaves_the_last(rank, tmp_path, monkeypatch):
    written(tmp_path, 3, step=1)

    def full(tensors, file):
        if file.name == checkpoint.file_name(rank):
            file.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save_file(tensors, file)

    monkeypatch.setattr(saving, "save_file", full)
    ends = on_threads(3, lambda comm: Case(comm).fill().save(tmp_path, 2, keep=1))
    assert all(type(end) is CleanEnd for end in ends)
    assert all(f"step 2: rank {rank}: " in str(end) and "No space left" in str(end) for end in ends)
    assert os.listdir(tmp_path) == ["step-00000001"]
    read_all(tmp_path)


@pytest.mark.parametrize("begun", (True, False))
def test_a_folder_that_is_not_one_for_all_ranks_is_told(tmp_path, begun, monkeypatch):
    disks = [tmp_path / "a", tmp_path / "b", tmp_path / "a"]  # the same path on two machines
    monkeypatch.setattr(saving.secrets, "token_hex", lambda n: "0")
    (disks[1] / f"step-{STEP:08d}.0.part" if begun else disks[1]).mkdir(parents=True)
    ends = on_threads(3, lambda comm: Case(comm).fill().save(disks[comm.rank]))
    assert all("one folder for all ranks" in str(end) for end in ends), ends
    assert not os.listdir(disks[0])


def events_of(work, act):
    """Run work(); at every change of a file, and before and after every shard, call act(number).

    Returns how many there were. Python tells us of them by audit events; the hook cannot be taken out
    again, so it looks at `live`.
    """
    live, count = [True], [0]

    def happen():
        if live[0]:
            count[0] += 1
            act(count[0])

    def hook(event, arguments):
        writing = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if writing or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
            happen()

    original, fsync = saving.save_file, os.fsync

    def save(tensors, file):
        happen()
        file.write_bytes(b"\0" * 50)  # half of it
        happen()
        original(tensors, file)
        happen()

    def sync(descriptor):
        happen()
        fsync(descriptor)

    sys.addaudithook(hook)
    saving.save_file, os.fsync = save, sync
    try:
        work()
    finally:
        live[0] = False
        saving.save_file, os.fsync = original, fsync
    return count[0]


def save_next(folder):
    case = Case(Threads(1, 0), stage=2, kind="adam").fill()
    case.save(folder, 18, keep=1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_write_the_newest_complete_checkpoint_loads(tmp_path):
    start = tmp_path / "start"
    written(start, 1, step=17, stage=2)
    before = read_all(start)
    shutil.copytree(start, tmp_path / "all")
    total = events_of(lambda: save_next(tmp_path / "all"), lambda number: None)
    assert total > 12
    after = read_all(tmp_path / "all")
    assert after[2] == 18
    seen = set()
    for kill_at in range(1, total + 1):
        folder = tmp_path / str(kill_at)
        shutil.copytree(start, folder)
        pid = os.fork()
        if pid == 0:  # the child dies like a process that is killed: no handler runs
            events_of(lambda: save_next(folder), lambda n: n == kill_at and os.kill(os.getpid(), 9))  # noqa: B023
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 9, "killed, not ended"
        found = read_all(folder)
        assert found in (before, after)
        seen.add(found[2])
        save_next(folder) if found[2] == 17 else None  # and the next one is not in its way
        assert read_all(folder) == after
    assert seen == {17, 18}


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="looks into /proc")
def test_all_is_forced_to_the_disk_before_and_after_the_one_rename(tmp_path, monkeypatch):
    done, fsync, rename = [], os.fsync, os.rename
    monkeypatch.setattr(saving.secrets, "token_hex", lambda n: "0")

    def sync(descriptor):
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def move(old, new):
        done.append(f"{old.name} -> {new.name}")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", move)
    written(tmp_path / "c", 2, step=5)
    assert sorted(done[:2]) == [R0, R1]
    assert done[2:] == [MANIFEST, "step-00000005.0.part", "step-00000005.0.part -> step-00000005", "c"]


def test_a_disk_that_fails_at_any_write_leaves_the_last(tmp_path):
    start = tmp_path / "start"
    written(start, 1, step=17, stage=2)
    before, number = read_all(start), 0

    def fail(at):
        def act(n):
            if n == at:
                raise OSError(5, "Input/output error")

        return act

    while True:
        number += 1
        folder = tmp_path / str(number)
        shutil.copytree(start, folder)
        try:
            if events_of(lambda: save_next(folder), fail(number)) < number:  # noqa: B023
                break
        except CleanEnd as error:
            assert "step 18: rank 0: " in str(error)
        found = read_all(folder)
        assert found == before or found[2] == 18
    assert number > 12


# The command.


def test_export_gives_the_model_one_tensor_at_a_time(tmp_path, monkeypatch):
    path = written(tmp_path / "c", 3, rule="random", dtype="bfloat16")
    alive, tensor = [], Checkpoint.tensor

    def watched(self, name):
        values = tensor(self, name)
        alive.append(weakref.ref(values))
        assert sum(ref() is not None for ref in alive) <= 2, "the one before is still bound"
        return values

    monkeypatch.setattr(Checkpoint, "tensor", watched)
    export(str(tmp_path / "c"), str(tmp_path / "m.safetensors"))
    monkeypatch.undo()
    found = load_file(tmp_path / "m.safetensors")
    opened = Checkpoint(path)
    assert len(alive) == 6 and found.keys() == set(opened.names())
    assert all(np.array_equal(found[name], opened.tensor(name)) for name in found)
    assert sorted(os.listdir(tmp_path)) == ["c", "m.safetensors"]


def test_export_does_not_spoil_a_checkpoint(tmp_path):
    path = written(tmp_path / "c", 2)
    with pytest.raises(UsageError, match="lies in the checkpoint"):
        export(str(path), str(path / R0))
    read_all(path)
    flip(R1, -1)(path)
    (tmp_path / "old").write_text("old")
    with pytest.raises(UsageError, match=R1):
        export(str(path), str(tmp_path / "old"))
    assert (tmp_path / "old").read_text() == "old"


def test_inspect_says_what_is_inside(tmp_path):
    text = inspect(str(written(tmp_path, 3, rule="hash", dtype="float16").parent))
    for part in ("step     17", "6 were left out", "107 parameters in 3 units", "master (float32)"):
        assert part in text
    assert "scale    512" in text and "layers.2.weight 3x5" in text and text.count("\nrank ") == 3


def test_a_manifest_survives_its_text():
    manifest = checkpoint.Manifest(arguments=["é\n\"'"], data_sha256="", features=1, outputs=1, classes=0)
    assert decode(encode(manifest)) == manifest
    assert msgspec.json.decode(encode(manifest))["format"] == checkpoint.FORMAT
