# 02 反着走一遍计算图 · Back through the graph
#
# 目标：root 是一张小计算图的最后一个结果。反着走一遍：每个节点把 grad 乘以 slope 交给它的来源，路径会合处相
# 加，最后每片叶子的 grad 增加 ∂root/∂叶子。
# 开始时 root 自己的 grad 是 1。中间节点（有来源的）交完就归零；叶子的 grad 留着，再调用一次就继续往上加。
# 通过条件：会合、菱形、两次调用都对；5000 个节点的链不爆栈；每个节点只访问一次。
# 检查：python lessons/exercises/02_autograd.py
#
# Goal: root is the last result of a small graph. Walk back through it: each node hands its grad times slope
# to its parents, and where paths meet it is added up; in the end the grad of every leaf has grown by
# ∂root/∂leaf.
# root's own grad is 1 at first. What has parents is at zero again when it has handed all back; leaves keep
# their grad, and another call adds to it.
# Done when: it is right where paths meet, for diamonds and for two calls; a chain of 5000 nodes is no
# problem; and each node is visited once.
# Check: python lessons/exercises/02_autograd.py

from _exercise import check

from lessons.given.graph import Node


def backward(root: Node) -> None:
    """Add d root / d leaf to the grad of every leaf below `root`; nodes with parents end with grad 0.0.

    node.parents   pairs (parent, slope), slope = d node / d parent; () for a leaf; root has some
    node.grad      a float, 0.0 at first
    node.number    counts creations: those of parents are smaller
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
