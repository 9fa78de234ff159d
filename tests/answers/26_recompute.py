def forward(layers, x):
    kept = []
    for layer in layers:
        kept.append(x)
        x = layer.run(x)[0]
    return x, kept


def backward(layers, kept, g):
    for layer, x in zip(reversed(layers), reversed(kept)):
        _, notes = layer.run(x)
        g = layer.back(notes, g)
    return g
