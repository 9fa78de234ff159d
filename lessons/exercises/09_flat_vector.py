# 09 摊平了再切 · Cut it flat
#
# 目标：两个函数。partition(numel, size)：把 numel 个元素切成 size 段，一个 rank 一段，每段是半开区间 (start,
# stop)。每段 ceil(numel / size) 个元素；到了末尾不够的那一段短一些，再往后的段是空的，写成 (numel, numel)。
# flatten(tensors, size)：各张量按字典的次序首尾相接，排成一个扁平的向量 buffer，末尾补 0，补到 size 的倍数为
# 止。views 是同名、同形状的视图，都在 buffer 里面：往 buffer 里写，从 views 里就看得见。
# 通过条件：元素个数除得尽、除不尽、比 rank 少，切得都对；buffer 的长度、dtype 和内容都对；views 是视图，不是
# 复制；传进来的 tensors 没有被改动。
# 检查：python lessons/exercises/09_flat_vector.py
#
# Goal: Two functions. partition(numel, size) cuts numel elements into size slices, one a rank, each a
# half-open (start, stop). A slice has ceil(numel / size) elements; where the end comes first it is shorter,
# and the slices after that are empty, (numel, numel).
# flatten(tensors, size) lays the tensors one after another, in the order of the dictionary, in one flat
# vector, the buffer, with zeros at its end up to a multiple of size. views has views of the buffer with the
# names and shapes of the tensors: what is written to the buffer shows in them.
# Done when: the slices are right for numbers that size divides, for others, and for fewer elements than
# ranks; length, dtype and content of the buffer are right; views are views and not copies; and the tensors
# passed in are unchanged.
# Check: python lessons/exercises/09_flat_vector.py

from _exercise import check
import numpy as np


def partition(numel: int, size: int) -> list[tuple[int, int]]:
    """numel elements -> a slice (start, stop) for each of `size` ranks; its elements are start .. stop - 1.

    ceil(numel / size) elements for each; at the end one may be shorter, and those after it (numel, numel).
    """
    raise NotImplementedError


def flatten(tensors: dict[str, np.ndarray], size: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """tensors, all of one dtype -> (buffer, views).

    buffer (padded,), of the same dtype: all elements in the order of the dictionary, then zeros;
    padded is the smallest multiple of `size` that has room for them.
    views: name -> that tensor's part of the buffer, in the tensor's shape.
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
