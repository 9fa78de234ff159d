"""A user's table: its line of names, its target, and its columns again when the model is used."""

import numpy as np
import pytest
from launching import mpirun

from zero_ref.data import Task
from zero_ref.datasets import load, load_inputs
from zero_ref.datasets.reading import Reading
from zero_ref.launch import UsageError

ROWS = [[1.0, 2.0, 0.5], [3.0, 4.0, 0.7]]
MODEL = Task(2, 1, 0, ["a", "b", "t"])
UNNAMED = Task(2, 1, 0)


@pytest.fixture
def write(tmp_path):
    """write(text) -> the name of a file of it."""

    def write(text, name="set.csv", encoding="utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return str(tmp_path / name)

    return write


def rows_of(data):
    return np.hstack([data.x, data.y]).tolist()


@pytest.mark.parametrize(
    "text, header, columns",
    [
        ("1,2,0.5\n3,4,0.7\n", None, None),
        ("1,2,0.5\n3,4,0.7\n", "no", None),
        (" a ,b,t\n1,2,0.5\n3,4,0.7\n", None, ["a", "b", "t"]),
        ("a,,t\n1,2,0.5\n3,4,0.7\n", None, ["a", "", "t"]),
        ("0,1,2\n1,2,0.5\n3,4,0.7\n", "yes", ["0", "1", "2"]),
        ("a,1990,t\n1,2,0.5\n3,4,0.7\n", "yes", ["a", "1990", "t"]),
        ("a,a,t\n1,2,0.5\n3,4,0.7\n", None, None),  # names that tell nothing
        ("A title\n1,2,0.5\n3,4,0.7\n", None, None),
        ("a,b\n1,2,0.5\n3,4,0.7\n", "yes", None),
        ("2,2,cat,dog\n1,2,0.5\n3,4,0.7\n", None, None),  # counts and classes, as scikit-learn has them
    ],
)
def test_no_row_is_lost_and_none_is_made(write, text, header, columns):
    data = load(write(text), "float64", Reading(header=header))
    assert rows_of(data) == ROWS and data.columns == columns == data.task.columns


def test_the_first_line_of_scikit_learns_files_is_read(write):
    text = "3,2,setosa,versicolor,virginica\n5.1,3.5,0\n4.9,3.0,1\n6.2,2.8,2\n"
    data = load(write(text), "float64")
    assert (data.x.shape, data.classes) == ((3, 2), 3)


@pytest.mark.parametrize(
    "target, x, y, columns",
    [
        (None, [1, 2], 0.5, ["a", "b", "t"]),
        ("last", [1, 2], 0.5, ["a", "b", "t"]),
        ("first", [2, 0.5], 1, ["b", "t", "a"]),
        ("b", [1, 0.5], 2, ["a", "t", "b"]),
    ],
)
def test_the_target_may_be_any_column(write, target, x, y, columns):
    data = load(write("a,b,t\n1,2,0.5\n3,4,0.7\n"), "float64", Reading(target=target, task="numbers"))
    assert (data.x[0].tolist(), data.y[0].tolist(), data.columns) == (x, [y], columns)


def test_labels_in_the_first_column_are_classes(write):
    data = load(write("label,p0,p1\n0,9,0\n2,1,0\n1,3,0\n"), "float64", Reading(target="first"))
    assert (data.classes, data.y.tolist(), data.x.tolist()) == (3, [0, 2, 1], [[9, 0], [1, 0], [3, 0]])


@pytest.mark.parametrize(
    "text, message",
    [
        ("a,b,t\n1,2,3\n", "no column 'y' .*'a', 'b', 't'"),
        ("1,2,3\n", "no column 'y' .*no names"),
        ("y,y,t\n1,2,3\n", "2 columns named 'y'"),
    ],
)
def test_a_target_that_is_not_there_is_told(write, text, message):
    with pytest.raises(UsageError, match=message):
        load(write(text), "float64", Reading(target="y"))


@pytest.mark.parametrize(
    "text, y",
    [
        ("a,b\n1,2\n3,4\n", None),
        ("b,a\n2,1\n4,3\n", None),  # put in order
        ("t,b,a\n0.5,2,1\n0.7,4,3\n", [0.5, 0.7]),
        ("a,b,t\n1,2,0.5\n3,4,0.7\n", [0.5, 0.7]),
        ("1,2\n3,4\n", None),
        ("1,2,0.5\n3,4,0.7\n", [0.5, 0.7]),  # without names, by their places
    ],
)
def test_a_model_finds_its_columns_by_name(write, text, y):
    x, found = load_inputs(write(text), MODEL, "float64")
    assert x.tolist() == [[1, 2], [3, 4]]
    assert (found is None and y is None) or found.ravel().tolist() == y


@pytest.mark.parametrize(
    "text, message",
    [
        (",a,b\n0,1,2\n1,3,4\n", "an index is no feature"),
        (",a,\n0,1,2\n1,3,4\n", "an index is no feature"),
        ("a,b,Unnamed: 0\n1,2,0\n3,4,1\n", "an index is no feature"),
        ("id,a,b\n0,1,2\n1,3,4\n", "none missing, 'id' too many; .* 'a', 'b'"),
        ("a,c\n1,2\n", "'b' missing, 'c' too many"),
        ("a,b,b\n1,2,2\n", "'b', 'b' too many"),
        ("a,t\n1,2\n", "'b' missing"),
        ("0.1,\n1,2\n", "line 1: '' is not a number"),
    ],
)
def test_columns_that_are_not_the_models_are_refused(write, text, message):
    with pytest.raises(UsageError, match=message):
        load_inputs(write(text), MODEL, "float64")


def test_a_model_without_names_takes_columns_by_their_places(write):
    named = write("c,d\n1,2\n3,4\n")
    assert load_inputs(named, UNNAMED, "float64")[0].tolist() == [[1, 2], [3, 4]]
    first = write("0.5,1,2\n0.7,3,4\n")
    x, y = load_inputs(first, UNNAMED, "float64", Reading(target="first"))
    assert x.tolist() == [[1, 2], [3, 4]] and y.ravel().tolist() == [0.5, 0.7]
    with pytest.raises(UsageError, match="no names, and the model's target is the column 'b'"):
        load_inputs(first, MODEL, "float64", Reading(target="b"))


ONE_HOT = "a,red,b,green,blue\n1,0,2,1,0\n3,1,4,0,0\n5,0,6,0,1\n7,1,8,0,0\n"


def test_one_hot_labels_mean_the_same_in_csv_and_npz(write, tmp_path):
    x, y = [[1, 2], [3, 4], [5, 6], [7, 8]], [[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]]
    np.savez(tmp_path / "s.npz", x=np.array(x, float), y=np.array(y))
    binary = load(str(tmp_path / "s.npz"), "float64", Reading(task="classes"))
    found = load(write(ONE_HOT), "float64", Reading(task="classes", target="red,green,blue"))
    assert found.x.tolist() == binary.x.tolist() == x
    assert found.y.tolist() == binary.y.tolist() == [1, 0, 2, 0] and found.classes == binary.classes == 3
    assert found.columns == ["a", "b", "red", "green", "blue"]
    turned = load(write(ONE_HOT), "float64", Reading(task="classes", target="blue,red,green"))
    assert turned.y.tolist() == [2, 1, 0, 1], "the order of --target is that of the classes"


def test_several_targets_are_several_numbers(write):
    text = "u,a,v\n0.5,1,7\n0.7,3,9\n"
    for task in (None, "numbers"):
        data = load(write(text), "float64", Reading(target="v,u", task=task))
        assert data.x.tolist() == [[1], [3]] and data.y.tolist() == [[7, 0.5], [9, 0.7]]
        assert (data.classes, data.columns) == (0, ["a", "v", "u"])
    numbers = load(write(ONE_HOT), "float64", Reading(target="red,green,blue", task="numbers"))
    assert numbers.classes == 0 and numbers.y.shape == (4, 3)
    comma = load(write('"u,v",a\n0.5,1\n0.7,3\n'), "float64", Reading(target="u,v"))
    assert comma.y.tolist() == [[0.5], [0.7]], "a column whose name has a comma"


@pytest.mark.parametrize(
    "target, task, message",
    [
        ("red,green,blue", None, "every row has a single 1: --task classes or --task numbers"),
        ("red,grey", "classes", "has no column 'grey'"),
        ("red,red", "classes", "named twice"),
        ("a,red,b,green,blue", "numbers", "no feature is left"),
        ("red,green", "classes", "class labels must have one dimension"),
    ],
)
def test_several_targets_that_cannot_be_are_refused(write, target, task, message):
    with pytest.raises(UsageError, match=message):
        load(write(ONE_HOT), "float64", Reading(target=target, task=task))
    with pytest.raises(UsageError, match=r"has no column 'red' .*it has no names"):
        load(write("1,0,1\n2,1,0\n"), "float64", Reading(target="red,green"))


def test_a_model_finds_several_targets_by_name(write):
    model = Task(2, 3, 3, ["a", "b", "red", "green", "blue"])
    x, y = load_inputs(write("blue,b,red,green,a\n0,2,0,1,1\n0,4,1,0,3\n"), model, "float64")
    assert x.tolist() == [[1, 2], [3, 4]] and y.tolist() == [1, 0]
    x, y = load_inputs(write("b,a\n2,1\n"), model, "float64", Reading(target="red,green,blue"))
    assert x.tolist() == [[1, 2]] and y is None
    numbers = Task(1, 2, 0, ["a", "v", "u"])
    _, y = load_inputs(write("u,a,v\n0.5,1,7\n"), numbers, "float64", Reading(target="v,u"))
    assert y.tolist() == [[7, 0.5]]
    with pytest.raises(UsageError, match="does not fit"):
        load_inputs(write("a,b,red,green,blue\n1,2,1,1,0\n"), model, "float64")


def test_a_model_of_one_hot_labels_is_kept_and_used(write, tmp_path):
    rows = np.random.default_rng(0).normal(size=(31, 3)).round(3)
    labels = rows.argmax(axis=1)
    lines = [",".join(map(str, [*row, *np.eye(3, dtype=int)[label]])) for row, label in zip(rows, labels)]
    table = write("\n".join(["a,b,c,x,y,z", *lines, ""]))
    line = (
        f"--hidden 5 --steps 60 --lr 0.05 --save {tmp_path}/ck --target x,y,z --task classes --data {table}"
    )
    ran = mpirun(3, "-m", "zero_ref.train", *line.split(), cwd=tmp_path)
    assert ran.returncode == 0 and "3 classes" in ran.stdout, ran.stderr
    used = ("-m", "zero_ref.predict", "--checkpoint", f"{tmp_path}/ck", "--data", table)
    found = mpirun(3, *used, cwd=tmp_path)
    assert found.returncode == 0 and "31 samples" in found.stdout, found.stderr
    assert float(found.stdout.split("accuracy ")[1].split()[0]) > 0.8
    ran = mpirun(2, "-m", "zero_ref.train", "--resume", f"{tmp_path}/ck", "--steps", "61", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("names", [",c", "Unnamed: 0,c", "c,Unnamed: 0"])
def test_an_index_is_no_input_of_a_model_without_names(write, names):
    with pytest.raises(UsageError, match="an index is no feature"):
        load_inputs(write(f"{names}\n0,1\n1,2\n"), UNNAMED, "float64")
    with pytest.raises(UsageError, match="an index is no feature"):
        load_inputs(write(f"{names},t\n0,1,2\n1,2,3\n"), UNNAMED, "float64", Reading(header="yes"))


@pytest.mark.parametrize(
    "text, name, encoding",
    [
        ("a,b,t\n1,2,0.5\n3,4,0.7\n", "SET.CSV", "utf-8"),
        ("a,b,t\n1,2,0.5\n3,4,0.7\n", "set.csv", "utf-16"),
        ("a,b,t\n1,2,0.5\n3,4,0.7\n", "set.csv", "utf-8-sig"),
        ("sep=,\na,b,t\n1,2,0.5\n3,4,0.7\n", "set.csv", "utf-8"),
        ('"sep=;"\r\na;b;t\r\n1;2;0.5\r\n3;4;0.7\r\n', "set.csv", "utf-8-sig"),
        ("SEP=\t\na\tb\tt\n1\t2\t0.5\n3\t4\t0.7\n", "set.csv", "utf-16"),
    ],
)
def test_dialects_that_name_themselves_are_read(write, text, name, encoding):
    data = load(write(text, name, encoding), "float64")
    assert rows_of(data) == ROWS and data.columns == ["a", "b", "t"]


def test_lines_are_counted_as_an_editor_counts_them(write):
    for text in ("sep=,\na,b\n\n1,x\n", 'a,"b\nb"\n\n1,x\n', "a,b\n1,2\n,\nx,4\n"):
        with pytest.raises(UsageError, match=r"line 4|line 3 has no values"):
            load(write(text), "float64")
