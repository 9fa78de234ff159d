# 25 注意力的反向 · Attention's way back
#
# 目标：一个头的因果注意力，t 个 token，每个 n 个数：p = softmax(q kᵀ / √n)，每行一个 softmax，只看自己和前面
# 的 token；输出 y = p v。
# 写它的反向：给出 g = dL/dy，返回 dL/dq、dL/dk、dL/dv。p 要自己再算一遍。
# 通过条件：一个 token、两个、五个都对；给进来的数组不变。
# 检查：python lessons/exercises/25_gpt.py
#
# Goal: One head of causal attention, t tokens of n numbers each: p = softmax(q kᵀ / √n), a softmax for each
# row, which sees its own token and those before; the output is y = p v.
# Write its way back: from g = dL/dy to dL/dq, dL/dk and dL/dv. Compute p once more.
# Done when: it is right for one token, for two and for five, and the arrays that were given are as they were.
# Check: python lessons/exercises/25_gpt.py

from _exercise import check
import numpy as np


def attention_backward(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, g: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(dL/dq, dL/dk, dL/dv) of y = softmax(q k^T / sqrt(n)) v, where a token sees itself and those before.

    q, k, v, g = dL/dy: (t, n) each, and so are the results
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
