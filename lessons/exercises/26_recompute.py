# 26 不存，再算一遍 · Not kept, but computed again
#
# 目标：layers 是一串层。layer.run(x) 给出 (y, notes)：输出，以及这一层反向要用的笔记，笔记和激活一样大。平常
# 的做法是前向时把每一层的笔记都留到反向；这里不留。
# forward 走过所有的层，返回 (y, kept)：最后的输出，和每一层的输入。backward 从最后一层走到第一层：用留下的输
# 入把这一层再算一遍，得到笔记，再用 layer.back(notes, g) 把梯度交给前一层。返回 dL/dx。
# 通过条件：输出和梯度都对；forward 返回以后没有笔记还活着；backward 里笔记最多两份；每一层前向一共两次。
# 检查：python lessons/exercises/26_recompute.py
#
# Goal: layers is a chain of layers. layer.run(x) gives (y, notes): the output, and the notes that the way
# back through this layer needs, as large as activations. Usually the notes of all layers are kept from
# forward to backward; here none are.
# forward goes through all layers and returns (y, kept): the last output, and the input of each layer.
# backward goes from the last layer to the first: it computes the layer once more from the input that was
# kept, for its notes, and hands the gradient on with layer.back(notes, g). It returns dL/dx.
# Done when: output and gradients are right; no notes are alive when forward has returned; in backward there
# are two at most; each layer is run twice in all.
# Check: python lessons/exercises/26_recompute.py

from _exercise import check
import numpy as np

from lessons.given.layers import Layer


def forward(layers: list[Layer], x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """(y, kept): the output of the last layer for x (n,), and the input (n,) of each layer.

    layer.run(x)   (y, notes): the layer's output (n,), and what its way back needs
    """
    raise NotImplementedError


def backward(layers: list[Layer], kept: list[np.ndarray], g: np.ndarray) -> np.ndarray:
    """dL/dx (n,), from g = dL/dy (n,) of the last layer; kept is what forward returned.

    layer.back(notes, g)   dL/d(the layer's input), from g = dL/d(its output); once for each layer
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
