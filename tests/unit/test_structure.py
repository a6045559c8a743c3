"""What the source must not contain, held at zero."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import repix
from repix.tasks import TASKS

SOURCE = Path(repix.__file__).parent


def trees(*, but: str = "") -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        if str(path.relative_to(SOURCE)) != but:
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def compares_task_by_string(tree: ast.AST) -> list[int]:
    """Lines that compare with a task's name (`==`, `in`, `match`), or a `.task` by `==`."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.MatchValue):
            sides, by_value = [node.value], True
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            by_value = any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops)
        else:
            continue
        names = {one.value for side in sides for one in ast.walk(side) if isinstance(one, ast.Constant)} & set(TASKS)
        tasks = any(
            (isinstance(side, ast.Attribute) and side.attr == "task")
            or (isinstance(side, ast.Name) and side.id == "task")
            or (isinstance(side, ast.Attribute) and ast.unparse(side).endswith("task.name"))
            for side in sides
        )
        if names or (tasks and by_value):
            lines.append(node.lineno if isinstance(node, ast.Compare) else node.value.lineno)
    return lines


def test_no_task_is_compared_by_string() -> None:
    found = [f"{path}:{line}" for path, tree in trees(but="tasks.py") for line in compares_task_by_string(tree)]
    assert not found


def test_comparisons_of_a_task_are_seen() -> None:
    for text in ("card.task == 'x'", "'derain' != x", "x in ('derain', 'y')", "task != other", "a.task.name == b"):
        assert compares_task_by_string(ast.parse(text)), text
    for text in ("card.task is not DERAIN", "task in tasks", "card.arch == 'x'"):
        assert not compares_task_by_string(ast.parse(text)), text
