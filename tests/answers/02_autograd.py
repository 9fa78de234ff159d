def backward(root):
    below, to_visit = {root.number: root}, [root]
    while to_visit:
        for parent, _ in to_visit.pop().parents:
            if parent.number not in below:
                below[parent.number] = parent
                to_visit.append(parent)
    root.grad = 1.0
    for number in sorted(below, reverse=True):
        node = below[number]
        for parent, slope in node.parents:
            parent.grad += slope * node.grad
        if node.parents:
            node.grad = 0.0
