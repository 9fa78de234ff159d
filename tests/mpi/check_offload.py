"""`--offload` and `--offload-shards`: the bits of the optimizer in memory, and the bytes that are said."""

import itertools
import math
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from check_saving import contents, run
from compared import KEEPS, compare
from small import Small, SmallGpt

from zero_ref import array
from zero_ref.comm import Comm
from zero_ref.extras import compiled, offload, storage
from zero_ref.ledger import Ledger, ledger
from zero_ref.train import replicas

DEVICE = os.environ.get("ZERO_REF_TEST_DEVICE", "cpu")
N = Comm().size
STAGES = [*range(4), "3, prefetch"]
OPTIMIZERS = {
    "sgd": dict(optimizer="sgd", settings=dict(lr=0.1, momentum=0.9, weight_decay=0.01)),
    "plain": dict(optimizer="sgd", settings=dict(lr=0.1)),
    "adam": dict(optimizer="adam", settings=dict(lr=0.01, weight_decay=0.01)),
    "adamw": dict(optimizer="adamw", settings=dict(lr=0.01, weight_decay=0.01)),
}
CLIP = 0.42
on_the_cpu = pytest.mark.skipif(DEVICE == "gpu", reason="shards stay on a GPU")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Shards of several blocks, with a shorter rest or without one."""
    monkeypatch.setattr(offload, "BLOCK", 4)


@pytest.fixture
def folder(comm, tmp_path):
    """A folder that is the same on all ranks."""
    return Path(comm.everyone(str(tmp_path))[0])


def small(stage, optimizer="adam", kind=Small, rule="contiguous", **settings):
    where = {"shares": [1 + r % 3 for r in range(N)]} if rule == "shares" else {"rule": rule}
    settings = dict(dtype="float32", steps=6, reduce="ordered", clip_norm=CLIP) | settings
    prefetch = "prefetch" in str(stage)
    return kind(int(str(stage)[0]), prefetch=prefetch, **where, **OPTIMIZERS[optimizer], **settings)


def ends(run):
    return run.sha256, run.norms, run.losses


def both(*chosen, **settings):
    """What ends a run with its state in memory, and one with it elsewhere, whose bytes are compared."""
    where = {name: settings.pop(name, None) for name in ("offload", "offload_shards")}
    plain = ends(small(*chosen, **settings).run())
    run = small(*chosen, **settings, **where).run()
    compare(run)
    return plain, ends(run)


@pytest.mark.rest("a run for each", every=37)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("dtype", ("float32", "float16", "bfloat16"))
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("tier", ("host", "disk"))
def test_bits_are_those_of_the_optimizer_in_memory(tier, optimizer, dtype, stage, folder):
    rule = ("contiguous", "random", "hash", "shares")[list(OPTIMIZERS).index(optimizer)]
    where = "host" if tier == "host" else f"disk:{folder}"
    plain, found = both(stage, optimizer, dtype=dtype, rule=rule, micro_batches=2, offload=where)
    assert plain == found
    norms = [norm for norm in found[1] if math.isfinite(norm)]
    assert 0 < sum(norm > CLIP for norm in norms) < len(norms), "clipping is at work in some steps only"


@pytest.mark.rest("a run for each", every=5)
@pytest.mark.parametrize("block", (1, 3, 7, 1 << 20))
@pytest.mark.parametrize("tier", ("host", "disk"))
def test_blocks_may_have_any_length(tier, block, folder, monkeypatch):
    monkeypatch.setattr(offload, "BLOCK", block)
    where = "host" if tier == "host" else f"disk:{folder}"
    for optimizer in ("sgd", "adamw"):
        plain, found = both(2, optimizer, dtype="bfloat16", rule="hash", offload=where)
        assert plain == found


@pytest.mark.rest("a run for each", every=11)
@on_the_cpu
@pytest.mark.parametrize("stage", STAGES[3:])
@pytest.mark.parametrize(
    "dtype, accumulate", [("float32", None), ("bfloat16", None), ("bfloat16", "float32")]
)
@pytest.mark.parametrize("optimizer", ("sgd", "adam"))
@pytest.mark.parametrize("tier", ("host", "disk"))
def test_shards_outside_change_no_bit(tier, optimizer, dtype, accumulate, stage, folder):
    rule = ("random", "shares")[optimizer == "sgd"]
    where = dict(offload="host" if tier == "host" else f"disk:{folder}", offload_shards=True)
    chosen = dict(dtype=dtype, accumulate=accumulate, rule=rule, micro_batches=3)
    plain, found = both(stage, optimizer, **chosen, **where)
    assert plain == found


@pytest.mark.rest("a run for each", every=4)
@on_the_cpu
@pytest.mark.parametrize("shards", (True, False))
@pytest.mark.parametrize("kind", (Small, SmallGpt))
def test_all_extras_together(kind, shards, folder):
    group = next(g for g in (2, 3, 5, 1) if N % g == 0)
    chosen = dict(group=group, recompute=True, micro_batches=2, dtype="bfloat16", accumulate="float32")
    where = dict(offload=f"disk:{folder}", offload_shards=shards)
    plain, found = both("3, prefetch", "adamw", kind, **chosen, **where)
    assert plain == found


@on_the_cpu
@pytest.mark.rest("a run for each", every=2)
@pytest.mark.parametrize("more", (dict(overlap=True), dict(bucket=100), dict(tiles=2)))
def test_with_what_changes_units_and_stages(more, folder):
    where = dict(offload=f"disk:{folder}", offload_shards=True)
    plain, found = both(3, "sgd", micro_batches=2, **more, **where)
    assert plain == found


@pytest.mark.rest("compiles")
@pytest.mark.skipif(array.place() != "compiled", reason="no numba here")
def test_compiled_updates_are_made_block_by_block_too(monkeypatch):
    calls = []
    monkeypatch.setattr(compiled, "compiles", lambda n, narrow: n >= 3 and not narrow and not calls.append(n))
    plain, found = both(3, "adam", offload="host")
    assert plain == found and {4} <= {n for n in calls if n}


@pytest.mark.rest("a run for each", every=3)
@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("dtype", ("float32", "float16"))
def test_bytes_are_the_papers(dtype, stage):
    """K psi/N at rest, read and written in a step: 8 bytes a parameter of Adam, 12 with the master."""
    run = small(stage, dtype=dtype, offload="host", clip_norm=None, steps=8).run()
    own = [u.layout.counts[run.comm.rank] for u in run.units]
    held = [u.layout.padded for u in run.units] if KEEPS[stage]["optimizer"] == "all" else own
    state = {"float32": 8, "float16": 12}[dtype] * sum(held)
    assert run.away == {"host": state, "disk": 0}
    assert run.moved == {"read": state, "written": state, "mapped": 0}
    assert run.resting["optimizer"] == 0
    most = max(n if n < 8 else 8 + n % 4 for n in held)
    assert run.peak["optimizer"] == {"float32": 8, "float16": 12}[dtype] * most


@on_the_cpu
@pytest.mark.parametrize("k", (1, 3))
@pytest.mark.parametrize("stage", STAGES[3:])
def test_bytes_of_shards_are_those_of_the_table(stage, k, folder):
    run = small(stage, micro_batches=k, offload=f"disk:{folder}", offload_shards=True).run()
    own = sum(u.layout.counts[run.comm.rank] for u in run.units)
    assert run.away == {"host": 0, "disk": 16 * own} and not any(run.resting.values())
    assert run.moved["mapped"] == 4 * own * (3 * k + 4)


def test_what_is_counted_is_given_back(folder):
    before = dict(ledger.away)
    run = small(0, offload=f"disk:{folder}").run()
    held = dict(ledger.away)
    del run
    assert held != before and dict(ledger.away) == before


def test_the_tier_is_no_memory_of_the_device():
    book = Ledger()
    owner = np.zeros(3)
    book.put_away("disk", 24, owner)
    book.count_moved("read", 7)
    assert (book.live_total, book.peak_total, book.away["disk"], book.moved["read"]) == (0, 0, 24, 7)
    book.forget_sent()
    del owner
    assert (book.away["disk"], book.moved["read"]) == (0, 0)


@pytest.mark.parametrize("stage", (1, 2, 3))
def test_a_rank_that_owns_nothing_counts_its_updates_too(stage, comm):
    settings = dict(shares=[0] * (N - 1) + [1], dtype="float32", steps=3, offload="host")
    found = Small(stage, **settings, **OPTIMIZERS["adam"]).run()
    compare(found)
    assert {u.optimizer.steps for u in found.units} == {3}
    replicas.check_equal(3, found.nouns())


# -- the file --


def test_a_file_has_no_name_and_is_its_owners_alone(folder):
    store = storage.Disk(str(folder), 1000)
    about = os.fstat(store.file.fileno())
    assert list(folder.iterdir()) == [] and about.st_nlink == 0
    assert stat.S_IMODE(about.st_mode) == 0o600 and about.st_size == 1000
    assert about.st_blocks * 512 >= 1000, "its place on the disk is reserved"


def test_each_rank_has_a_file_of_its_own(comm, folder):
    store = storage.Disk(str(folder), 40)
    mine = array.from_numpy(np.arange(10, dtype="float32") + comm.rank, "buffer")
    store.write(mine, 0)
    comm.everyone(None)  # all have written
    there = array.zeros(10, "float32", "buffer")
    store.read(there, 0)
    assert array.to_numpy(there).tolist() == [comm.rank + i for i in range(10)]
    number = os.fstat(store.file.fileno()).st_ino
    assert len(set(comm.everyone(number))) == N


@pytest.mark.parametrize("make", (storage.Host, None), ids=("host", "disk"))
@pytest.mark.parametrize("dtype", ("float32", "float64", "bfloat16"))
def test_what_is_written_is_read_and_seen_whole(make, dtype, folder):
    size = 5000  # of several pages
    store = (make or (lambda n: storage.Disk(str(folder), n)))(3 * size * np.dtype(dtype).itemsize)
    values = np.random.default_rng(1).normal(size=3 * size).astype(dtype)
    itemsize = values.itemsize
    for start in range(0, 3 * size, 7):
        part = array.from_numpy(values[start : start + 7].copy(), "buffer")
        store.write(part, start * itemsize)
    whole = store.whole(dtype, size * itemsize, size)
    assert type(whole) is np.ndarray and whole.tobytes() == values[size : 2 * size].tobytes()
    whole[3] = 9
    storage.forget_pages(whole)
    part = array.zeros(1, dtype, "buffer")
    store.read(part, (size + 3) * itemsize)
    assert float(array.to_numpy(part)[0]) == 9 == float(whole[3])
    assert store.whole(dtype, 0, 0).size == 0


# -- the command --

LINE = "--quiet --batch-size 12 --hidden 7,5 --seed 4 --clip-norm 0.4 --steps 6 --reduce ordered"


@pytest.mark.rest("six runs for each", every=4)
@pytest.mark.parametrize("stage", (3, 0, 1, 2))
def test_a_checkpoint_is_that_of_the_same_run_without(stage, folder):
    dtype, optimizer = (("float32", "adam"), ("float16", "sgd --momentum 0.9"))[stage % 2]
    line = f"{LINE} --stage {stage} --shard-model random --dtype {dtype} --optimizer {optimizer}"
    line += " --schedule cosine"
    (folder / "state").mkdir(exist_ok=True)
    shards = " --offload-shards" if stage == 3 and DEVICE == "cpu" else ""
    away = f"--offload disk:{folder}/state{shards}"
    plain = run(line, f"--save {folder}/plain --save-every 3")
    found = run(line, f"{away} --save {folder}/away --save-every 3 --verify-every 2")
    assert found["weights_sha256"] == plain["weights_sha256"] and found["loss"] == plain["loss"]
    for step in ("step-00000003", "step-00000006"):
        assert contents(folder / "plain" / step) == contents(folder / "away" / step)
    for option in ("", "--offload host", away):  # and from one with to one without
        again = run("--quiet", option, resume=folder / "away" / "step-00000003")
        assert again["weights_sha256"] == plain["weights_sha256"]
        assert (again["config"]["offload"] is None) == (option == ""), "it is not remembered"
    other = run(
        f"--quiet --stage {3 - stage} --offload host --steps 4", resume=folder / "plain" / "step-00000003"
    )
    assert other["loss"] == plain["loss"][3:4]
    assert list((folder / "state").iterdir()) == []


@pytest.mark.rest("a run for each", every=4)
@pytest.mark.parametrize("stage", STAGES)
def test_the_record_adds_up_and_the_recorder_sees_the_device_alone(stage, folder):
    shards = str(stage)[0] == "3" and DEVICE == "cpu"
    line = f"--stage {str(stage)[0]} {'--prefetch' * ('prefetch' in str(stage))} --micro-batches 2 --steps 3"
    away = f"--offload disk:{folder} {'--offload-shards' * shards}"
    result = run(LINE, line, away, f"--report {folder}/page.html --language en")
    for rank, recorded in zip(result["ranks"], result["recorded_step"]["ranks"]):
        for key, says in rank["formula"].items():
            assert {name: rank[key][name] for name in says} == says
        assert all(rank[key] == rank["predicted"][key] for key in rank["predicted"])
        assert rank["away_bytes"]["disk"] > 0 and rank["moved_bytes_per_step"]["read"] > 0
        kept = sum(nbytes for unit in recorded["kept"] for nbytes, _ in unit.values())
        changes = [event[4] for event in recorded["events"] if event[1] in ("born", "died")]
        alive = list(itertools.accumulate([kept, *changes]))
        assert max(alive) == recorded["predicted"]["peak_total_bytes"]
        assert kept == sum(rank["resting_bytes"].values())
        assert (kept == 0) == shards


def test_copies_of_the_state_are_compared_wherever_they_lie(comm, folder):
    if N == 1:
        pytest.skip("one rank has one copy")
    found = small(0, offload=f"disk:{folder}", steps=2).run()
    replicas.check_equal(2, found.nouns())
    if comm.rank == N - 1:
        found.units[-1].optimizer.state()["m"][0] += 1
    with pytest.raises(replicas.Diverged, match="the copies of m of "):
        replicas.check_equal(2, found.nouns())
