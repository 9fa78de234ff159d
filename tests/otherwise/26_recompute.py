"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import functools

def forward(layers, x):
    kept = [x]
    for layer in layers:
        kept.append(layer.run(kept[-1])[0])
    return kept.pop(), kept

def backward(layers, kept, g):
    for i in range(len(layers) - 1, -1, -1):
        g = layers[i].back(layers[i].run(kept[i])[1], g)
    return g
""",
    """def forward(layers, x):
    if not layers:
        return x, []
    y, rest = forward(layers[1:], layers[0].run(x)[0])
    return y, [x, *rest]

def backward(layers, kept, g):
    pairs = list(zip(layers, kept))
    while pairs:
        layer, x = pairs.pop()
        g = layer.back(layer.run(x)[1], g)
    return g
""",
)
