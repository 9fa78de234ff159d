"""Exercise 02: small graphs whose leaves' gradients tell how they were walked; diamonds, and a long chain.

A mistake is a wrong backward() of our own, run on the same graph.
"""

import ast
import gc
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

from lessons.checker import evidence
from lessons.checker.evidence import Diagnosis, Right, Trial, Unknown, kind_of
from lessons.checker.ranks.lines import line_of_error
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import encode, observe
from lessons.given.graph import Node, relu

FUNCTIONS = ("backward",)
RANKS = 1
CHAIN, DIAMONDS = 5000, 30
VISITS = 100_000  # in a large graph; a right answer needs three or four for each node

GRAPHS = (
    {"s": "a * b"},
    {"h": "a * b", "s": "h * c"},
    {"h": "a * b", "s": "h * a"},
    {"h": "a * b", "y": "h * c", "s": "h + y"},
    {"h": "a * b", "y": "h * c", "s": "y + h"},
    {"h": "a * b", "r": "relu(h)", "y": "r * c", "s": "h + y"},
)
TWO_CALLS = (({"h": "a * b", "s": "h * a"}, "ss"), ({"h": "a * b", "s": "h * a", "u": "h + b"}, "su"))


def cases(random: Random) -> list[dict[str, Any]]:
    """One call: path, chain, meeting, diamonds, anything. Two calls. Then graphs on which recursion fails."""
    found = [graph(random, formulas, "s") for formulas in GRAPHS]
    found.append(graph(random, anything(random), "s"))
    found += [graph(random, formulas, roots) for formulas, roots in TWO_CALLS]
    many = {"h": "h + relu(h)", "times": DIAMONDS, "nodes": 2 * DIAMONDS + 1}
    long = {"h": "relu(h)", "times": CHAIN, "nodes": CHAIN + 1}
    found.append({"size": 1, "diamonds": DIAMONDS, "roots": "s", "given": many})
    return [*found, {"size": 1, "chain": CHAIN, "roots": "s", "given": long}]


def graph(random: Random, formulas: dict[str, str], roots: str) -> dict[str, Any]:
    """Formulas over a, b and c, with numbers for those; and the nodes of which backward is called."""
    used = [leaf for leaf in "abc" if any(leaf in formula for formula in formulas.values())]
    nodes = dict(zip(used, random.sample((2, 3, 5, 7), len(used)))) | formulas
    calls = {"calls": ", ".join(f"backward({root})" for root in roots)} if len(roots) > 1 else {}
    return {"size": 1, "graph": nodes, "roots": roots, "given": nodes | calls}


def anything(random: Random) -> dict[str, str]:
    """Formulas in which each result is used next, together with something older."""
    names, formulas = ["a", "b", "c"], {}
    for name in "defghs":
        pair = [names[-1], random.choice(names[:-1])]
        random.shuffle(pair)
        formulas[name] = f" {'*' if name in 'dg' else '+'} ".join(pair)
        names.append(name)
    return formulas


def build_graph(case: dict[str, Any], kind: type[Node]) -> dict[str, Node]:
    """The nodes of a case by name; of a chain and of diamonds only a, the leaf, and s, the end."""
    if "graph" in case:
        nodes: dict[str, Any] = {"relu": relu}
        for name, formula in case["graph"].items():
            nodes[name] = eval(formula, {}, nodes) if isinstance(formula, str) else kind(formula)
        del nodes["relu"]
        return nodes
    h = a = kind(1.0)
    for _ in range(case.get("chain", 0)):
        h = relu(h)
    for _ in range(case.get("diamonds", 0)):
        h = h + relu(h)
    return {"a": a, "s": h}


def leaves(case: dict[str, Any]) -> list[str]:
    """The names of the leaves."""
    return [name for name, formula in case.get("graph", {"a": 1}).items() if not isinstance(formula, str)]


def most_reads(case: dict[str, Any]) -> int:
    """How often parents may be read: enough for a slow way through a small graph."""
    return 1000 if "graph" in case else VISITS


class TooMany(BaseException):
    """Far more visits than the graph has nodes. Not an Exception: a student's `except` must not hold it."""


class Counted(Node):
    """A node that counts how often any node's parents are read."""

    reads, most_reads = 0, 0

    @property
    def parents(self) -> tuple:
        Counted.reads += 1
        if Counted.reads > Counted.most:
            raise TooMany
        return self.known_parents

    @parents.setter
    def parents(self, parents: tuple) -> None:
        self.known_parents = parents


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call or two. The leaves' gradients; whether nodes were changed, visited endlessly, and kept."""
    nodes = build_graph(case, Counted)
    Counted.reads, Counted.most = 0, most_reads(case)
    before = [(node.value, node.known_parents, node.number) for node in nodes.values()]
    seen: dict[str, Any] = {"changed": [], "shared": False, "events": [], "line": None, "endless": False}
    try:
        for root in case["roots"]:
            seen |= observe(comm, student.backward, nodes[root])
    except TooMany as error:
        seen |= {"line": line_of_error(error, [student.__file__]), "endless": True}
    after = [(node.value, node.known_parents, node.number) for node in nodes.values()]
    seen |= {"value": encode({name: nodes[name].grad for name in leaves(case)}), "spoilt": before != after}
    if len(set(case["roots"])) > 1:
        end = weakref.ref(nodes[case["roots"][-1]])
        del before, after, nodes
        gc.collect()
        seen["kept"] = end() is not None
    return seen | lines_of_grad(student)


def lines_of_grad(student: ModuleType) -> dict[str, int | None]:
    """start: the first line that writes a grad; hand: the last at which that is no fixed number."""
    found: dict[int, bool] = {}
    for node in ast.walk(ast.parse(Path(str(student.__file__)).read_text(encoding="utf-8-sig"))):
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Attribute) and target.attr == "grad" for target in targets):
                found[node.lineno] = isinstance(node.value, ast.Constant)
    moving = [line for line, fixed in found.items() if not fixed]
    return {"start": min(found, default=None), "hand": max(moving, default=None)}


# Walks of our own, right and wrong.

Backward = Callable[[Node], None]


def newest_first(root: Node) -> list[Node]:
    """All nodes below root, and root, the last created first."""
    found, waiting = {root.number: root}, [root]
    while waiting:
        for parent, _ in waiting.pop().parents:
            if parent.number not in found:
                found[parent.number] = parent
                waiting.append(parent)
    return sorted(found.values(), key=lambda node: node.number, reverse=True)


def breadth_first(root: Node) -> list[Node]:
    """Root, then its parents, then theirs."""
    found = [root]
    for node in found:
        found += [p for p in dict.fromkeys(parent for parent, _ in node.parents) if p not in found]
    return found


def depth_first(root: Node, step: int, seen_when_found: bool) -> list[Node]:
    """Along the last or (step -1) the first parents down to a leaf, then from where other ways are left."""
    found, waiting, seen = [], [root], {root} if seen_when_found else set()
    while waiting:
        node = waiting.pop()
        if not seen_when_found and node in seen:
            continue
        seen.add(node)
        found.append(node)
        for parent, _ in node.parents[::step]:
            if parent not in seen:
                waiting.append(parent)
                if seen_when_found:
                    seen.add(parent)
    return found


def paths_breadth_first(root: Node) -> list[Node]:
    """As a queue gives them, each as often as there are paths to it."""
    found = [root]
    for node in found:
        found += [parent for parent, _ in node.parents]
    return found


def paths_depth_first(root: Node) -> list[Node]:
    """As a stack gives them, each as often as there are paths to it."""
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += [parent for parent, _ in found[-1].parents]
    return found


def paths_newest_first(root: Node) -> list[Node]:
    """Newest first, each as often as there are paths to it."""
    return sorted(paths_breadth_first(root), key=lambda node: node.number, reverse=True)


def add(node: Node, parent: Node, slope: float) -> None:
    parent.grad += slope * node.grad


def assign(node: Node, parent: Node, slope: float) -> None:
    parent.grad = slope * node.grad


def slope_left_out(node: Node, parent: Node, slope: float) -> None:
    parent.grad += node.grad


def slope_alone(node: Node, parent: Node, slope: float) -> None:
    parent.grad += slope


def walk(
    order: Callable[[Node], list[Node]] = newest_first,
    give: Callable[[Node, Node, float], None] = add,
    start: Callable[[Node], float] = lambda root: 1.0,
    to: slice = slice(None),
    clear: bool = True,
) -> Backward:
    """A backward() that visits nodes in this order. to: which of its parents a node gives something."""

    def backward(root: Node) -> None:
        root.grad = start(root)
        for node in order(root):
            for parent, slope in node.parents[to]:
                give(node, parent, slope)
        for node in newest_first(root) if clear else ():
            node.grad = 0.0 if node.parents else node.grad

    return backward


def recursive(once: bool, first_give_all: bool) -> Backward:
    """A backward() that calls itself for each parent: only for those not seen yet, or for all."""

    def visit(node: Node, seen: set[Node]) -> None:
        seen.add(node)
        for parent, slope in node.parents if first_give_all else ():
            add(node, parent, slope)
        for parent, slope in node.parents:
            if not first_give_all:
                add(node, parent, slope)
            if not (once and parent in seen):
                visit(parent, seen)

    return walk(order=lambda root: (visit(root, set()), [])[1])


def clearing_all(root: Node) -> None:
    """Leaves, too, begin anew with each call."""
    for node in newest_first(root):
        node.grad = 0.0
    walk()(root)


def remembering() -> Backward:
    """A backward() that visits no node again that it has seen in an earlier call."""
    seen: set[Node] = set()

    def order(root: Node) -> list[Node]:
        found = [node for node in newest_first(root) if node not in seen]
        seen.update(found)
        return found

    return walk(order)


Mistakes = tuple[tuple[str, Callable[[], Backward]], ...]

MISTAKES: Mistakes = (
    ("starts_at_zero", lambda: walk(start=lambda root: 0.0)),
    ("starts_at_value", lambda: walk(start=lambda root: root.value)),
    ("slope_left_out", lambda: walk(give=slope_left_out)),
    ("slope_alone", lambda: walk(give=slope_alone)),
    ("one_level", lambda: walk(lambda root: [root])),
    ("one_parent", lambda: walk(to=slice(0, 1))),
    ("one_parent", lambda: walk(to=slice(-1, None))),
    ("assigns", lambda: walk(give=assign)),
    ("too_early", lambda: walk(breadth_first)),
    ("too_early", lambda: walk(lambda root: depth_first(root, 1, True))),
    ("too_early", lambda: walk(lambda root: depth_first(root, -1, True))),
    ("too_early", lambda: walk(lambda root: depth_first(root, 1, False))),
    ("too_early", lambda: walk(lambda root: depth_first(root, -1, False))),
    ("too_early", lambda: recursive(once=True, first_give_all=False)),
    ("too_early", lambda: recursive(once=True, first_give_all=True)),
    ("counts_twice", lambda: walk(paths_newest_first)),
    ("counts_twice", lambda: recursive(once=False, first_give_all=False)),
    ("counts_twice", lambda: recursive(once=False, first_give_all=True)),
    ("counts_twice", lambda: walk(paths_breadth_first)),
    ("counts_twice", lambda: walk(paths_depth_first)),
)
AGAIN: Mistakes = (
    ("stale", lambda: walk(clear=False)),
    ("stale", lambda: walk(clear=False, start=lambda root: root.grad + 1)),
    ("leaves_cleared", lambda: clearing_all),
    ("remembers", remembering),
)


def leaves_after(case: dict[str, Any], backward: Backward) -> dict[str, float]:
    """The leaves' gradients after all calls of a case."""
    nodes = build_graph(case, Node)
    for root in case["roots"]:
        backward(nodes[root])
    return {name: nodes[name].grad for name in leaves(case)}


def right(trial: Trial, _: int) -> dict[str, float]:
    return leaves_after(trial.case, walk())


def leaves_of_mistakes(mistakes: Mistakes) -> list[tuple[str, Right]]:
    """What the mistakes leave in the leaves."""
    return [(key, lambda t, _, make=make: leaves_after(t.case, make())) for key, make in mistakes]


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """One call, two calls, side effects; then the large graphs, then what is kept."""
    small = [t for t in trials if "graph" in t.case]
    one, two = ([t for t in small if (len(t.case["roots"]) > 1) == twice] for twice in (False, True))
    many, long = ([t for t in trials if name in t.case] for name in ("diamonds", "chain"))
    return (
        endless(small, "never_ends")
        or with_leaves(evidence.explain(one, right, leaves_of_mistakes(MISTAKES)), one)
        or with_leaves(evidence.explain(two, right, leaves_of_mistakes(AGAIN)), two)
        or find_report(trials, "spoilt", "changed_nodes")
        or endless(many, "every_path")
        or endless(long, "again_and_again")
        or with_leaves(evidence.explain(many + long, right, ()), many + long)
        or find_report(trials, "kept", "keeps_graph", state="note")
    )


def endless(trials: Sequence[Trial], key: str) -> Diagnosis | None:
    """Nodes that are visited over and over."""
    found = find_report(trials, "endless", key)
    if found is not None:
        nodes = found.case["given"].get("nodes", len(found.case.get("graph", ())))
        found.params = {"nodes": nodes, "visits": most_reads(found.case)}
    return found


def find_report(trials: Sequence[Trial], what: str, key: str, state: str = "wrong") -> Diagnosis | None:
    """The first trial in whose report `what` is true."""
    for trial in trials:
        report = trial.ranks[0]
        if report.get(what):
            return Diagnosis(key, {}, report["line"], trial.case, state=state)
    return None


def with_leaves(found: Diagnosis | None, trials: Sequence[Trial]) -> Diagnosis | None:
    """The same diagnosis with a row of the table for each leaf."""
    if found is not None:
        trial = evidence.trial_of(found, trials)
        report, want, (got,) = trial.ranks[0], right(trial, 0), trial.values()
        found.line = report["start" if found.key.startswith("starts") else "hand"] or found.line
        got = {leaf: kind_of(g) if isinstance(g, Unknown) else g for leaf, g in got.items()}
        found.head, found.rows = ("leaf", "wanted", "got"), [(leaf, want[leaf], got[leaf]) for leaf in want]
    return found
