"""The gradients against central differences, and what the tape keeps alive."""

import gc
import math
import weakref

import ml_dtypes
import numpy as np
import pytest

from zero_ref import autograd
from zero_ref.autograd import Tensor, add, cross_entropy, gelu, linear, mean_squared_error, relu
from zero_ref.extras.transformer import add_rows, causal_attention, embedding, layer_norm
from zero_ref.ledger import ledger

RNG, MORE = np.random.default_rng(7), np.random.default_rng(8)
IDS = np.array([[2, 0, 2], [1, 2, 2]])
LABELS = np.array([2, 0, 1])
TARGETS = RNG.normal(size=(3, 4))


def away_from_0(shape):
    return RNG.uniform(0.3, 1.5, shape) * RNG.choice([-1.0, 1.0], shape)


CASES = {
    "linear": (linear, [RNG.normal(size=s) for s in ((3, 5), (4, 5), (4,))]),
    "add": (add, [RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))]),
    "relu": (relu, [away_from_0((3, 4))]),
    "gelu": (gelu, [away_from_0((3, 4))]),
    "linear of sequences": (linear, [MORE.normal(size=s) for s in ((2, 3, 5), (4, 5))]),
    "embedding": (lambda table: embedding(table, IDS), [MORE.normal(size=(4, 3))]),
    "add_rows": (add_rows, [MORE.normal(size=s) for s in ((2, 3, 4), (5, 4))]),
    "cross_entropy of sequences": (lambda z: cross_entropy(z, IDS, 12), [MORE.normal(size=(2, 3, 4))]),
    "layer_norm": (layer_norm, [MORE.normal(size=s) for s in ((2, 3, 5), (5,), (5,))]),
    "causal_attention": (lambda qkv: causal_attention(qkv, 2), [MORE.normal(size=(2, 3, 12))]),
    "cross_entropy": (lambda z: cross_entropy(z, LABELS, 12), [RNG.normal(size=(3, 4))]),
    "mean_squared_error": (lambda z: mean_squared_error(z, TARGETS, 12), [RNG.normal(size=(3, 4))]),
}
EACH_INPUT = [(name, i) for name, (_, inputs) in CASES.items() for i in range(len(inputs))]


def backward(op, inputs, g=None):
    """Gradients of sum(g * op(inputs)), and that number."""
    leaves = [Tensor(values) for values in inputs]
    out = op(*leaves)
    g = np.ones_like(out.data) if g is None else g
    out.backward(1.0 if isinstance(out.data, float) else g)
    return [leaf.grad for leaf in leaves], float(np.sum(out.data * g))


@pytest.mark.parametrize("name, number", EACH_INPUT)
def test_gradient_is_the_central_difference(name, number):
    op, inputs = CASES[name]
    value = op(*map(Tensor, inputs)).data
    g = 1.0 if isinstance(value, float) else RNG.normal(size=value.shape)
    grads, _ = backward(op, inputs, g)
    step = 1e-5
    slopes = np.empty_like(inputs[number])
    for place in np.ndindex(slopes.shape):
        values = []
        for sign in (1, -1):
            moved = [x.copy() for x in inputs]
            moved[number][place] += sign * step
            values.append(backward(op, moved, g)[1])
        slopes[place] = (values[0] - values[1]) / (2 * step)
    assert grads[number].shape == slopes.shape
    assert np.abs(grads[number] - slopes).max() <= 1e-7 * np.abs(slopes).max()


def test_one_weight_by_the_chain_rule():
    x, w, b = Tensor(np.array([[3.0]])), Tensor(np.array([[2.0]])), Tensor(np.array([0.5]))
    y = linear(x, w, b)
    assert y.data == 6.5
    y.backward(np.array([[10.0]]))  # dL/dy
    assert (w.grad, b.grad, x.grad) == (30.0, 10.0, 20.0)  # dL/dy x, dL/dy, dL/dy w


def test_a_batch_adds_up_its_samples():
    x, w, b = Tensor(np.array([[3.0], [5.0]])), Tensor(np.array([[2.0]])), Tensor(np.array([0.5]))
    linear(x, w, b).backward(np.array([[10.0], [100.0]]))
    assert (w.grad, b.grad) == (10 * 3 + 100 * 5, 110)
    assert x.grad.tolist() == [[20], [200]]


def test_tokens_that_are_alike_add_their_gradients_up():
    table = Tensor(np.zeros((4, 2)))
    g = np.arange(12.0).reshape(2, 3, 2)
    embedding(table, IDS).backward(g)
    assert table.grad.tolist() == [[2, 3], [6, 7], [0 + 4 + 8 + 10, 1 + 5 + 9 + 11], [0, 0]]


def test_layer_norm_is_its_formula():
    x, w, b = (MORE.normal(size=s) for s in ((2, 3, 6), (6,), (6,)))
    y = layer_norm(Tensor(x), Tensor(w), Tensor(b)).data
    for sample in range(2):
        for token in range(3):
            row = x[sample, token]
            expected = (row - row.mean()) / math.sqrt(row.var() + 1e-5) * w + b
            assert np.allclose(y[sample, token], expected, rtol=1e-13, atol=0)


def attention_of_one_head(q, k, v):
    """What it says, token by token."""
    found = []
    for token in range(len(q)):
        scores = [q[token] @ k[other] / math.sqrt(len(q[token])) for other in range(token + 1)]
        weights = np.exp(scores) / np.exp(scores).sum()
        found.append(sum(w * v[other] for other, w in enumerate(weights)))
    return np.array(found)


def test_attention_is_its_formula_in_each_head():
    qkv = MORE.normal(size=(2, 5, 3 * 6))
    y = causal_attention(Tensor(qkv), 3).data
    for sample in range(2):
        q, k, v = np.split(qkv[sample], 3, axis=1)
        for head in range(3):
            own = slice(2 * head, 2 * head + 2)
            expected = attention_of_one_head(q[:, own], k[:, own], v[:, own])
            assert np.allclose(y[sample][:, own], expected, rtol=1e-12, atol=1e-15)


def test_a_token_sees_nothing_of_what_follows():
    qkv = MORE.normal(size=(1, 5, 12))
    later = qkv.copy()
    later[:, 3:] = 100.0
    before, after = (causal_attention(Tensor(a), 2).data for a in (qkv, later))
    assert (before[:, :3] == after[:, :3]).all() and (before[:, 3:] != after[:, 3:]).any()


@pytest.mark.parametrize("dtype", ["float16", "float32", ml_dtypes.bfloat16])
@pytest.mark.parametrize("op", ["layer_norm", "causal_attention", "embedding", "linear of sequences"])
def test_short_numbers_are_summed_in_float32(op, dtype):
    """The error is that of one rounding, or of a few: of inputs, of the gradient, and of the result."""
    call, inputs = CASES[op]
    short = [Tensor(x.astype(dtype)) for x in inputs]
    wide = [Tensor(t.data.astype("float64")) for t in short]
    outputs = [call(*tensors) for tensors in (short, wide)]
    assert outputs[0].data.dtype == dtype
    for tensor in outputs:
        tensor.backward(np.ones(tensor.data.shape, tensor.data.dtype))
    unit = float(ml_dtypes.finfo(dtype).eps)
    pairs = [(outputs[0].data, outputs[1].data), *((a.grad, b.grad) for a, b in zip(short, wide))]
    for ours, exact in pairs:
        assert ours.dtype == dtype
        assert np.abs(ours.astype("float64") - exact).max() <= 4 * unit * max(1, np.abs(exact).max())


def test_a_block_keeps_its_probabilities_once_and_no_number_in_float64():
    ledger.forget_peaks()
    live = ledger.live["activation"]
    out = causal_attention(Tensor(MORE.normal(size=(2, 64, 24)).astype("f4")), 4)
    assert ledger.live["activation"] - live == 4 * (2 * 4 * 64 * 64 + 2 * 64 * 8)
    out.backward(np.ones((2, 64, 8), "f4"))


def test_no_samples_have_no_gradient():
    """A rank may have none, and its part of a parameter's gradient is 0."""
    ids = np.zeros((0, 3), int)
    table, places, qkv = Tensor(np.ones((4, 6))), Tensor(np.ones((5, 6))), Tensor(np.ones((18, 6)))
    norm, bias = Tensor(np.ones(6)), Tensor(np.zeros(6))
    x = layer_norm(add_rows(embedding(table, ids), places), norm, bias)
    y = causal_attention(linear(x, qkv), 3)
    assert y.data.shape == (0, 3, 6)
    loss = cross_entropy(y, ids, 12)
    loss.backward(1.0)
    assert loss.data == 0 and all(not t.grad.any() for t in (table, places, qkv, norm, bias))


def test_gelu_has_known_values():
    # torch.nn.functional.gelu(x, approximate="tanh") of PyTorch 2.15.0, float64
    known = {
        -3.0: -0.0036373920817729943,
        -1.0: -0.15880800939172324,
        0.0: 0.0,
        0.5: 0.34571400982514394,
        1.0: 0.8411919906082768,
        3.0: 2.996362607918227,
    }
    values = gelu(Tensor(np.array(list(known)))).data
    assert values == pytest.approx(list(known.values()), rel=1e-13, abs=1e-16)


def test_relu_and_its_slope_are_0_at_0():
    x = Tensor(np.array([-1.0, 0.0, 2.0]))
    y = relu(x)
    y.backward(np.array([5.0, 6.0, 7.0]))
    assert y.data.tolist() == [0, 0, 2]
    assert x.grad.tolist() == [0, 0, 7]


def test_cross_entropy_is_minus_log_softmax():
    z = CASES["cross_entropy"][1][0]
    naive = -sum(math.log(math.exp(row[k]) / np.exp(row).sum()) for row, k in zip(z, LABELS)) / 12
    assert cross_entropy(Tensor(z), LABELS, 12).data == pytest.approx(naive, rel=1e-14)


@pytest.mark.parametrize("label, loss, grad", [(0, 0, [0, 0]), (1, 2000, [1, -1])])
def test_cross_entropy_is_stable_for_large_logits(label, loss, grad):
    z = Tensor(np.array([[1000.0, -1000.0]]))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        out = cross_entropy(z, np.array([label]), 1)
        out.backward(1.0)
    assert out.data == loss
    assert z.grad.tolist() == [grad]


def test_cross_entropy_leaves_its_input_as_it_was():
    z = RNG.normal(size=(3, 4))
    before = z.copy()
    backward(lambda t: cross_entropy(t, LABELS, 3), [z])
    assert (z == before).all()


def test_mean_squared_error_divides_by_samples_and_targets():
    out = Tensor(np.array([[1.0, 2.0]]))
    loss = mean_squared_error(out, np.array([[0.0, 5.0]]), 4)
    assert loss.data == (1 + 9) / 2 / 4
    loss.backward(1.0)
    assert out.grad.tolist() == [[2 * 1 / 8, 2 * -3 / 8]]


@pytest.mark.parametrize("samples", [0, 1])
@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_small_batches_work(samples, loss):
    positive = [RNG.uniform(0.1, 1, size) for size in ((samples, 5), (4, 5))]  # or relu might let nothing by
    x, w, b = *map(Tensor, positive), Tensor(np.zeros(4))
    y = relu(linear(x, w, b))
    if loss == "cross_entropy":
        out = cross_entropy(y, LABELS[:samples], 8)
    else:
        out = mean_squared_error(y, TARGETS[:samples], 8)
    out.backward(1.0)
    assert [t.grad.shape for t in (x, w, b)] == [(samples, 5), (4, 5), (4,)]
    if samples == 0:
        assert out.data == 0
        assert not w.grad.any() and not b.grad.any()
    else:
        assert out.data > 0 and w.grad.any()


def test_a_node_used_twice_adds_its_gradients_up():
    x = Tensor(np.array([[1.0, -2.0]]))
    inner = relu(x)
    add(inner, add(inner, x)).backward(np.array([[1.0, 10.0]]))
    assert x.grad.tolist() == [[3, 10]]


def test_the_same_node_on_both_sides_of_add():
    x = Tensor(np.array([4.0]))
    add(x, x).backward(np.array([3.0]))
    assert x.grad == 6


def test_add_does_not_hand_one_array_to_two_nodes():
    a, b, g = Tensor(np.zeros(2)), Tensor(np.zeros(2)), np.ones(2)
    add(a, b).backward(g)
    assert not np.shares_memory(a.grad, b.grad)
    assert not np.shares_memory(a.grad, g)


@pytest.mark.parametrize("shapes", [((2, 3), (3,)), ((1, 3), (2, 3)), ((2, 3), (3, 2))])
def test_add_refuses_unequal_shapes(shapes):
    with pytest.raises(ValueError, match="differ"):
        add(*(Tensor(np.zeros(shape)) for shape in shapes))


@pytest.mark.parametrize("name, number", EACH_INPUT)
def test_first_contribution_is_written_into_the_buffer(name, number):
    op, inputs = CASES[name]
    wanted = backward(op, inputs)[0][number]
    leaves = [Tensor(values) for values in inputs]
    buffer = leaves[number].buffer = np.full(wanted.shape, np.nan)  # written, not added to
    out = op(*leaves)
    out.backward(1.0 if isinstance(out.data, float) else np.ones_like(out.data))
    assert leaves[number].grad is buffer
    assert (buffer == wanted).all()


def test_second_contribution_is_added_to_the_buffer():
    x, w, b = Tensor(RNG.normal(size=(3, 5))), Tensor(RNG.normal(size=(5, 5))), Tensor(np.zeros(5))
    buffer = w.buffer = np.full((5, 5), np.nan)
    g = RNG.normal(size=(3, 5))
    hidden = linear(x, w, b)
    linear(hidden, w, b).backward(g)
    assert w.grad is buffer
    assert buffer == pytest.approx(g.T @ hidden.data + (g @ w.data).T @ x.data, rel=1e-12)


@pytest.mark.parametrize("name, number", EACH_INPUT)
def test_nothing_is_computed_for_an_unwanted_gradient(name, number):
    op, inputs = CASES[name]
    leaves = [Tensor(values, wants_grad=i != number) for i, values in enumerate(inputs)]
    leaves[number].buffer = np.full(inputs[number].shape, np.nan)
    out = op(*leaves)
    out.backward(1.0 if isinstance(out.data, float) else np.ones_like(out.data))
    assert leaves[number].grad is None
    assert np.isnan(leaves[number].buffer).all()
    assert all(leaf.grad is not None for leaf in leaves if leaf.wants_grad)


def test_an_unwanted_operation_is_not_called():
    leaf = Tensor(np.zeros(1), wants_grad=False)
    leaf.add_grad(lambda: pytest.fail("called"))


def test_only_leaves_keep_a_gradient():
    x = Tensor(np.ones((1, 1)))
    middle = relu(x)
    out = relu(middle)
    out.backward(np.ones((1, 1)))
    assert middle.grad is None and out.grad is None and x.grad == 1


def test_a_parameter_can_leave_after_the_forward_pass():
    values, x = RNG.normal(size=(4, 5)), RNG.normal(size=(3, 5))
    wanted = backward(lambda *leaves: relu(linear(*leaves)), [x, values, np.zeros(4)])[0]

    gathered = values.copy()
    gone = weakref.ref(gathered)
    leaves = [Tensor(x), Tensor(gathered), Tensor(np.zeros(4))]
    out = relu(linear(*leaves))
    leaves[1].data = None
    del gathered
    assert gone() is None
    leaves[1].data = values.copy()
    out.backward(np.ones((3, 4)))
    assert all((leaf.grad == grad).all() for leaf, grad in zip(leaves, wanted))


@pytest.mark.parametrize("go_back", [False, True])
def test_the_tape_needs_no_garbage_collector(monkeypatch, go_back):
    born = []

    def track(kind, array):
        born.append(weakref.ref(array))
        return array

    monkeypatch.setattr(autograd, "track", track)
    gc.disable()
    try:
        x, w, b = Tensor(RNG.normal(size=(3, 4))), Tensor(RNG.normal(size=(4, 4))), Tensor(np.zeros(4))
        hidden = gelu(relu(linear(x, w, b)))
        out = cross_entropy(add(hidden, linear(hidden, w, b)), LABELS, 3)
        if go_back:
            out.backward(1.0)
            for leaf in (x, w, b):
                leaf.grad = None
        assert any(array() is not None for array in born)
        del hidden, out
        assert len(born) > 6 and all(array() is None for array in born)
    finally:
        gc.enable()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ml_dtypes.bfloat16])
def test_gelu_is_finite_for_every_finite_number(dtype):
    largest = float(ml_dtypes.finfo(dtype).max)
    values = [0, 5, 9.5, 100, 255, 256, 300, 3e4, 6e4, 1e30, largest]
    x = Tensor(np.array([sign * v for v in values if v <= largest for sign in (1, -1)], dtype))
    with np.errstate(over="raise", invalid="raise"):
        y = gelu(x)
        y.backward(np.ones_like(x.data))
    far = abs(x.data) >= 9
    positive = (x.data > 0)[far]
    assert y.data.dtype == x.grad.dtype == dtype
    assert (x.grad[far] == positive).all() and (y.data[far] == np.where(positive, x.data[far], 0)).all()
    assert np.isfinite(x.grad.astype(float)).all()


def test_gelu_has_the_bits_of_its_formula():
    """With a product where the formula has a power, so that each is one rounding after the other."""
    x = np.linspace(-9, 9, 4001, dtype="f4")
    c = np.float32(math.sqrt(2 / math.pi))
    inner = np.tanh(c * (x * x * x * np.float32(0.044715) + x))
    tensor = Tensor(x)
    assert gelu(tensor).data.tobytes() == (np.float32(0.5) * x * (1 + inner)).tobytes()
    gelu(tensor).backward(np.ones_like(x))
    slope = 0.5 * (1 + (inner + (1 - inner * inner) * x * (1 + 3 * np.float32(0.044715) * (x * x)) * c))
    assert np.abs(tensor.grad - slope).max() < 1e-6


def test_gelu_takes_its_slope_from_both_parts():
    """In float64, beside central differences: at 0, and where the tanh has no slope any more."""
    x = Tensor(np.array([0.0, 12.0, -12.0, 1e200]))
    gelu(x).backward(np.ones(4))
    assert x.grad.tolist() == [0.5, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("loss_of, target", [(cross_entropy, [1]), (mean_squared_error, [[1.0, 0.0]])])
def test_a_loss_goes_back_once(loss_of, target):
    x = Tensor(np.array([[1.0, 2.0]]))
    loss = loss_of(x, np.array(target), 1)
    loss.backward(1.0)
    first = x.grad.copy()
    with pytest.raises(RuntimeError, match="called before"):
        loss.backward(1.0)
    assert (x.grad == first).all()
