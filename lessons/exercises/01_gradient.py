# 01 一层的梯度 · The gradient of a layer
#
# 目标：一层算的是 y = x wᵀ + b：x 是（样本，输入），w 是（输出，输入），b 是（输出）。已知 dy = ∂L/∂y（样本，
# 输出），求 dx = ∂L/∂x、dw = ∂L/∂w、db = ∂L/∂b。
# 每个梯度和它所对应的量形状相同；一批样本的梯度是各个样本贡献之和。
# 通过条件：样本、输入、输出的个数相等或不等，三个梯度都对；x、w、dy 没有被改动。
# 检查：python lessons/exercises/01_gradient.py
#
# Goal: A layer computes y = x wᵀ + b: x is (samples, inputs), w is (outputs, inputs), b is (outputs). Given
# dy = ∂L/∂y (samples, outputs), find dx = ∂L/∂x, dw = ∂L/∂w and db = ∂L/∂b.
# Each gradient has the shape of what it belongs to, and a batch's gradient is the sum over its samples.
# Done when: all three are right, whether samples, inputs and outputs are equally many or not; and x, w and dy
# are unchanged.
# Check: python lessons/exercises/01_gradient.py

from _exercise import check
import numpy as np


def linear_backward(
    x: np.ndarray, w: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of y = x w^T + b, where dy = dL/dy.

    x (samples, inputs), w (outputs, inputs), dy (samples, outputs)
    -> dx (samples, inputs), dw (outputs, inputs), db (outputs,)
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
