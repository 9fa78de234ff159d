"""FILE.npz and FILE.csv of the user: what is read, and what is refused in one line."""

import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from zero_ref.data import Task
from zero_ref.datasets import load, load_inputs
from zero_ref.datasets.reading import Reading
from zero_ref.launch import UsageError

X = np.arange(12.0).reshape(6, 2)
LABELS = np.array([0, 2, 1, 0, 1, 2])


def npz(folder, **arrays):
    path = folder / "set.npz"
    np.savez(path, **arrays)
    return str(path)


def csv(folder, content):
    path = folder / "set.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3), (6, 3, 2)])
def test_npz_with_real_targets(tmp_path, shape):
    y = np.random.default_rng(0).normal(size=shape)
    data = load(npz(tmp_path, x=X, y=y), "float64")
    assert (data.x == X).all() and (data.y == y.reshape(6, -1)).all()
    assert data.classes == 0 and data.task.outputs == data.y.shape[1]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_npz_with_labels(tmp_path, dtype):
    data = load(npz(tmp_path, x=X, y=LABELS.astype(dtype)), "float32")
    assert data.x.dtype == "float32" and data.y.dtype == "int64"
    assert data.y.tolist() == LABELS.tolist() and data.classes == data.task.outputs == 3


@pytest.mark.parametrize("y", [[True, False], [0, 1]])
def test_labels_of_two_classes(tmp_path, y):
    data = load(npz(tmp_path, x=X[:2], y=np.array(y)), "float32")
    assert data.classes == 2 and data.y.tolist() == [int(label) for label in y]


def test_images_become_rows(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), "uint8")
    data = load(npz(tmp_path, x=images, y=LABELS), "float32")
    assert data.x.shape == (6, 64) and data.x.dtype == "float32"
    assert (data.x == images.reshape(6, 64)).all()


def test_compressed_npz_with_other_arrays_beside(tmp_path):
    path = tmp_path / "set.npz"
    np.savez_compressed(path, x=X, y=LABELS, names=np.array(["a", "b"]))
    assert load(str(path), "float64").x.tolist() == X.tolist()


@pytest.mark.parametrize(
    "text",
    [
        "1,2,0.5\n3,4,-1\n",
        "a,b,target\n1,2,0.5\n3,4,-1\n",
        "1,2,0.5\r\n\r\n3,4,-1",
        "a,b,c\n\n 1 , 2 ,0.5\n\n3,4,-1\n,,\n\n,,\n",
        "\ufeff1,2,5e-1\n3,4,-1\n",
        "\na,b,c\n1,2,0.5\n3,4,-1\n",
        '"a","b,c","d"\n"1","2","0.5"\n3,4,-1\n',
    ],
)
def test_csv_with_and_without_names_and_blank_lines(tmp_path, text):
    data = load(csv(tmp_path, text), "float64")
    assert data.x.tolist() == [[1, 2], [3, 4]] and data.y.tolist() == [[0.5], [-1]]
    assert data.classes == 0


@pytest.mark.parametrize(
    "targets, classes",
    [
        (["0", "2", "1", "0"], 3),
        (["0", "1"], 2),
        (["25", "346", "110"], 0),  # whole numbers, but not all from 0 up
        (["0", "2", "3"], 0),
        (["0.0", "1.0"], 0),  # with a point
        (["-1", "0", "1"], 0),
        (["3000000000", "0"], 0),  # and no memory is asked for three thousand million classes
    ],
)
def test_csv_targets_are_classes_or_numbers(tmp_path, targets, classes):
    data = load(csv(tmp_path, "".join(f"7,{target}\n" for target in targets)), "float32")
    assert data.classes == classes
    assert data.y.shape == ((len(targets),) if classes else (len(targets), 1))
    assert data.y.ravel().tolist() == [float(target) for target in targets]


NAN_AT_3 = np.where(np.arange(12).reshape(6, 2) == 7, np.nan, X)
INF_AT_3 = np.where(np.arange(12).reshape(6, 2) == 7, np.inf, X)
BAD_NPZ = {
    "no y": ({"x": X}, "'x' and 'y'"),
    "no x": ({"a": X, "y": LABELS}, "'x' and 'y'"),
    "other names": ({"x_train": X, "y_train": LABELS}, r"'x' and 'y', and holds x_train, y_train$"),
    "two numbers": (
        {"x": np.array(1.0), "y": np.array(1)},
        r"shape \(\) and y \(\): a sample is a row of each",
    ),
    "lengths differ": ({"x": X, "y": LABELS[:5]}, r"\(6, 2\).*\(5,\).*lengths differ"),
    "x is one number": ({"x": np.float64(1), "y": LABELS}, r"\(\)"),
    "y is one number": ({"x": X, "y": np.int64(1)}, r"\(\)"),
    "no rows": ({"x": X[:0], "y": LABELS[:0]}, "nothing to learn"),
    "no columns": ({"x": X[:, :0], "y": LABELS}, "nothing to learn"),
    "no targets": ({"x": X, "y": X[:, :0]}, "nothing to learn"),
    "negative label": ({"x": X, "y": LABELS - 1}, "-1"),
    "label that is no label": ({"x": X, "y": LABELS + 10**12}, "class labels go from 0"),
    "unsigned label past int64": ({"x": X, "y": np.full(6, 2**64 - 1, "u8")}, "not 18446744073709551615"),
    "labels of two dimensions": ({"x": X, "y": LABELS.reshape(6, 1)}, "one dimension.*--task classes"),
    "one class": ({"x": X, "y": LABELS * 0}, "all targets are 0, one class"),
    "another one class": ({"x": X, "y": LABELS * 0 + 3}, "all targets are 3, one class"),
    "labels from 1": ({"x": X, "y": LABELS + 1}, "from 1 to 3, .* --task classes or --task numbers"),
    "labels with a gap": ({"x": X, "y": LABELS * 2}, "from 0 to 4, .* --task classes or --task numbers"),
    "NaN in x": ({"x": NAN_AT_3, "y": LABELS}, r"x\[3, 1\] is nan"),
    "infinity in x": ({"x": INF_AT_3, "y": LABELS}, r"x\[3, 1\] is inf"),
    "NaN in y": ({"x": X, "y": NAN_AT_3}, r"y\[3, 1\] is nan"),
    "too large in x": ({"x": X + 1e300, "y": LABELS}, r"x\[0, 0\] is inf in float32"),
    "too large in y": ({"x": X, "y": np.full(6, -1e300)}, r"y\[0, 0\] is -inf in float32"),
    "complex x": ({"x": X + 1j, "y": LABELS}, "x holds complex128"),
    "complex y": ({"x": X, "y": LABELS + 1j}, "y holds complex128"),
    "text as x": ({"x": X.astype(str), "y": LABELS}, "x holds <U"),
    "text as y": ({"x": X, "y": LABELS.astype(str)}, "y holds <U"),
    "dates as y": ({"x": X, "y": LABELS.astype("M8[s]")}, "y holds datetime64"),
}
BAD_CSV = {
    "empty": (b"", "no rows"),
    "blank": (b"\n\n ,\n", "no rows"),
    "names only": (b"a,b\n", "no rows"),
    "text in line 3": (b"a,b\n1,2\n3,four\n", "line 3: 'four' is not a number"),
    "names in line 2": (b"a,b\nc,d\n1,2\n", "line 2"),
    "a missing value": (b"1,2\n3,\n", "line 2: '' is not a number"),
    "ragged, shorter": (b"1,2,3\n4,5\n", "line 2 has 2 columns, not 3"),
    "ragged, longer": (b"1,2\n\n4,5,6\n", "line 3 has 3 columns, not 2"),
    "one column": (b"1\n2\n", "line 1 has 1 column,"),
    "NaN": (b"1,2\nnan,4\n", "line 2 holds NaN"),
    "infinity": (b"1,2\n3,-inf\n", "line 2 holds NaN or infinity"),
    "too large": (b"1,2\n1e300,4\n", r"x\[1, 0\] is inf in float32"),
    "a missing value in line 1": (b"1,,0.5\n2,3,0.7\n", r"line 1: '' is not a number \(column 2\)"),
    "a question mark in line 1": (b"1,?,0.5\n2,3,0.7\n", "line 1: '\\?' is not a number"),
    "NA in line 1": (b"NA,2,0.5\n2,3,0.7\n", "line 1: 'NA' is not a number"),
    "a word in line 1": (b"1,two,0.5\n2,3,0.7\n", "line 1: 'two' is not a number.*--header yes"),
    "nothing but missing values in line 1": (b"?,,NA\n2,3,0.7\n", "line 1: '\\?' is not a number"),
    "missing values after names": (b"a,b,c\n?,,NA\n2,3,0.7\n", "line 2: '\\?' is not a number"),
    "a row without values": (b"a,b\n1,2\n,\n3,4\n", "line 3 has no values"),
    "numbers of columns": (b"0,1,2\n5.1,3.5,0\n4.9,3.0,1\n", "line 1 counts from 0 to 2.*--header no"),
    "one class": (b"1,0\n2,0\n", "all targets are 0.*--target"),
    "an index": (b",a,b\n0,1,2\n1,3,4\n", "the first column has no name: an index.*index=False"),
    "an index that was read once": (b"Unnamed: 0,a,b\n0,1,2\n1,3,4\n", "column 1, 'Unnamed: 0', has no name"),
    "an index that was read twice": (b"Unnamed: 0.1,a\n0,1\n1,3\n", "column 1, 'Unnamed: 0.1', .*no feature"),
    "an index in the middle": (b"a,Unnamed: 0,b\n0,1,2\n1,3,4\n", "column 2, 'Unnamed: 0'"),
    "an index beside another column without name": (b",a,\n0,1,2\n1,3,4\n", "the first column has no name"),
    "nothing but columns without names": (b'"",,t\n0,1,2\n1,3,4\n', "the first column has no name"),
    "an index as R writes it": (b"a,b\n1,2,3\n2,3,4\n", "line 1 has 2 names for 3 columns.*an index"),
    "counts that are not those of the rows": (b"3,1,x,y\n1,0\n2,1\n", "line 1: 'x' is not a number"),
    "semicolons": (b"a;b;c\n1;2;0.5\n", "line 1 has semicolons"),
    "semicolons without names": (b"1;2;0.5\n3;4;1\n", "line 1 has semicolons"),
    "decimal commas": (b"1,5;2,5;0,5\n3,5;4,5;0,7\n", "line 1: '5;2' .* the row has semicolons"),
    "quoted decimal commas": (b'a,b\n"1,5","2,5"\n', "line 2: '1,5' is not a number .*as 1000 or 1.5"),
    "spaces in a number": (b"a,b\n1 000,2\n", "line 2: '1 000' .*; write it as 1000 or 1.5$"),
    "names of another number": (b"a,b\n1,2,3,4\n", "line 1 has 2 names for 4 columns"),
    "tabs": (b"a\tb\tc\n1\t2\t0.5\n", "line 1 has tabs"),
    "spaces": (b"1 2 0.5\n3 4 1\n", "line 1 has spaces"),
    "bars": (b"a|b\n1|2\n", "line 1 has bars"),
    "a separator that is not in the file": (b"sep=;\na,b\n1,2\n", "line 3: '1,2'"),
    "an unclosed quote in the names": (b'a,"b,c\n1,2,0\n3,4,1\n', "is a quote not closed"),
    "an unclosed quote": (b'a,b\n1,"2\n' + b"3,4\n" * 99, "line 2: .{,90}is a quote not closed"),
    "a comma at the end": (b"1,2,0.5,\n3,4,0.7,\n", "line 1: '' .* does not end with a comma"),
    "an underscore": (b"a,b\n1_000,2\n3,4\n", "line 2: '1_000' is not a number"),
    "an underscore in line 1": (b"1_000,2\n3,4\n", "line 1: '1_000' is not a number"),
    "Latin letters of 8 bits": ("größe,b\n1,2\n".encode("latin-1"), "save it as UTF-8"),
    "NUL bytes": (b"1,2\n3,\x004\n", "line 2"),
    "zeros only": (b"\x00" * 99, ""),
    "not UTF-8": (b"1,2\n3,\xff\xfe4\n", "utf-8"),
    "UTF-16 without its mark": ("1,2\n3,4\n".encode("utf-16-le"), "line 2: .* UTF-16"),
    "half of UTF-16": ("1,2\n3,4\n".encode("utf-16")[:-1], "utf-16"),
    "a huge cell": (b"1,2\n3," + b"4" * 200000 + b"\n", ""),
    "a line break in a cell": (b'1,2\n3,"a\nb"\n', "line 2: 'a"),
}


def refused(name, message=""):
    """load() refuses `name` in one line that names it."""
    with pytest.raises(UsageError) as error:
        load(name, "float32")
    text = str(error.value)
    assert text.startswith(f"--data {name}: ")
    assert "\n" not in text and len(text) > len(f"--data {name}: ")
    assert re.search(message, text.removeprefix(f"--data {name}: "))


@pytest.mark.parametrize("case", BAD_NPZ)
def test_unusable_npz_is_refused(tmp_path, case):
    arrays, message = BAD_NPZ[case]
    refused(npz(tmp_path, **arrays), message)


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("name", ["x", "y"])
def test_pickles_are_not_opened(tmp_path, name):
    trap = np.array([Trap(str(tmp_path / "sprung"))] * 6)
    refused(npz(tmp_path, **{"x": X, "y": LABELS, name: trap}), "[Oo]bject")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("case", BAD_CSV)
def test_unusable_csv_is_refused(tmp_path, case):
    content, message = BAD_CSV[case]
    refused(csv(tmp_path, content), message)


@pytest.mark.parametrize("name", ["none.npz", "none.csv", "no/such/folder.csv"])
def test_missing_file_is_refused(tmp_path, name):
    refused(str(tmp_path / name), "No such file")


@pytest.mark.parametrize("name", ["set.npz", "set.csv"])
def test_directory_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    refused(str(tmp_path / name), "(?i)directory")


@pytest.mark.parametrize("name", ["set.txt", "set", "set.npy", "mnist", "", "."])
def test_other_suffixes_are_refused(name):
    refused(name, "digits, spoken, diabetes, persuasion, tang or one of FILE.npz, FILE.csv,.* FILE.txt$")


@pytest.mark.parametrize("content", [b"", b"x", b"garbage" * 100, b"PK\x03\x04" + b"\0" * 50])
def test_garbage_npz_is_refused(tmp_path, content):
    path = tmp_path / "set.npz"
    path.write_bytes(content)
    refused(str(path), "npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_npz_is_refused(tmp_path, save, damage):
    path = tmp_path / "set.npz"
    save(path, x=np.random.default_rng(0).normal(size=(50, 4)), y=np.arange(50.0))
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:600] + bytes(255 - b for b in content[600:620]) + content[620:])
    refused(str(path))


@pytest.mark.parametrize("place, value", [(10, 77), (6, 99), (8, 1)], ids=["method", "version", "encrypted"])
def test_npz_that_zipfile_cannot_read_is_refused(tmp_path, place, value):
    np.savez(tmp_path / "a.npz", x=X, y=LABELS)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(b"PK\x01\x02") + place] = value
    (tmp_path / "a.npz").write_bytes(content)
    refused(str(tmp_path / "a.npz"))


def npy(shape, content=b"", head=None):
    """The text of an array file with any header."""
    head = head or f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head) + 1) + head.encode() + b"\n" + content


MEMBERS = {
    "no array": (b"1,2,3\n", "x is not an array"),
    "nothing": (b"", "x is not an array"),
    "a version of the future": (b"\x93NUMPY\x09\x00" + b"\0" * 40, r"format \(9, 0\)"),
    "8 TB": (npy((10**12,)), "takes 8,000,000,000,000 bytes, and --data-limit is 8 GB"),
    "more than there is": (npy((10, 3), b"\0" * 232), "takes 240 bytes, and 232 are there"),
    "less than there is": (npy((10, 3), b"\0" * 248), "takes 240 bytes, and 248 are there"),
    "a length below 0": (npy((-3, -3)), "shape"),
    "a length beyond all": (npy((1 << 70, 0)), "shape"),
    "parentheses": (npy(None, head="(" * 50), "header of x is not understood"),
    "many parentheses": (npy(None, head="(" * 9000), "damaged|header"),
    "no dictionary": (npy(None, head="[1, 2]"), ""),
    "an unknown type": (npy(None, head="{'descr': '<q9', 'fortran_order': False, 'shape': (1,)}"), ""),
}


@pytest.mark.parametrize("case", MEMBERS)
def test_an_array_that_is_none_is_refused_before_memory_is_asked_for(tmp_path, case):
    content, message = MEMBERS[case]
    np.savez(tmp_path / "y.npz", y=LABELS)
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("x.npy", content)
        archive.writestr("y.npy", zipfile.ZipFile(tmp_path / "y.npz").read("y.npy"))
    refused(str(tmp_path / "set.npz"), message)


def test_what_would_take_more_than_the_limit_is_refused_unread(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((1 << 20, 16)), y=np.arange(1 << 20) % 2)
    text = "".join(f"{row}.5,1,2,0.25\n" for row in range(1000))
    for path in (str(tmp_path / "bomb.npz"), csv(tmp_path, text)):
        tracemalloc.start()
        with pytest.raises(UsageError, match=r"takes [\d,]+ bytes, and --data-limit is 1e-05 GB"):
            load(path, "float32", Reading(limit=1e4))
        assert tracemalloc.get_traced_memory()[1] < 2e6
        tracemalloc.stop()
    assert len(load(csv(tmp_path, text), "float32", Reading(limit=32_000)).x) == 1000


def test_arrays_of_every_layout_are_read(tmp_path):
    for order in "CF":
        x = np.asarray(np.arange(12.0).reshape(6, 2), order=order)
        assert (load(npz(tmp_path, x=x, y=LABELS), "float64").x == x).all()
    assert load(npz(tmp_path, x=X.astype(">f4"), y=LABELS.astype(">i2")), "float64").x.tolist() == X.tolist()


@pytest.mark.parametrize(
    "y", [LABELS, LABELS.reshape(6, 1), np.eye(3)[LABELS], np.eye(3, dtype=bool)[LABELS], LABELS * 1.0]
)
def test_task_classes_takes_labels_in_every_form(tmp_path, y):
    path, model = npz(tmp_path, x=X, y=y), Task(2, 3, 3)
    data = load(path, "float32", Reading(task="classes"))
    assert (data.classes, data.y.dtype, data.y.tolist()) == (3, "int64", LABELS.tolist())
    assert load_inputs(path, model, "float32")[1].tolist() == LABELS.tolist()


@pytest.mark.parametrize("labels, classes", [([1, 2, 3], 4), ([0, 2, 4], 5)])
def test_task_says_what_whole_numbers_are_in_both_formats(tmp_path, labels, classes):
    y = np.array(labels * 2)
    text = "".join(f"{a},{b},{label}\n" for (a, b), label in zip(X, y))
    for path in (npz(tmp_path, x=X, y=y), csv(tmp_path, text)):
        data = load(path, "float32", Reading(task="classes"))
        assert (data.classes, data.y.tolist()) == (classes, y.tolist())
        data = load(path, "float32", Reading(task="numbers"))
        assert (data.classes, data.y.tolist()) == (0, [[float(n)] for n in y])


@pytest.mark.parametrize(
    "y, message", [([0.5, 1], "not 0.5"), ([-1.0, 1], "not -1"), ([1.0, 1], "one class")]
)
def test_task_classes_refuses_what_is_no_label(tmp_path, y, message):
    with pytest.raises(UsageError, match=message):
        load(npz(tmp_path, x=X[:2], y=np.array(y)), "float32", Reading(task="classes"))


def test_header_and_target_are_not_for_npz(tmp_path):
    for how in (Reading(header="no"), Reading(target="first")):
        with pytest.raises(UsageError, match=r"--header and --target are for FILE.csv"):
            load(npz(tmp_path, x=X, y=LABELS), "float32", how)
