"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import heapq

def backward(root):
    root.grad = 1.0
    heap, seen = [(-root.number, root)], {root.number}
    while heap:
        _, node = heapq.heappop(heap)
        back, node.grad = node.grad, 0.0
        for parent, slope in node.parents:
            parent.grad = parent.grad + back * slope
            if parent.parents and parent.number not in seen:
                seen.add(parent.number)
                heapq.heappush(heap, (-parent.number, parent))
""",
    """def backward(root):
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((parent, False) for parent, _ in node.parents)
    root.grad = 1.0
    for node in reversed(order):
        if not node.parents:
            continue
        give, node.grad = node.grad, 0.0
        for parent, slope in node.parents:
            parent.grad += slope * give
""",
    """def backward(root):
    nodes = {}

    def below(start):
        todo = [start]
        while todo:
            if (node := todo.pop()).number not in nodes:
                nodes[node.number] = node
                todo += [parent for parent, _ in node.parents]

    below(root)
    root.grad = 1.0
    for node in sorted(nodes.values(), key=lambda n: -n.number):
        if node.parents:
            for parent, slope in node.parents:
                parent.grad += slope * node.grad
            node.grad = 0.0
""",
)
