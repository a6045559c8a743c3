"""What the source must not contain, held at zero."""

from __future__ import annotations

import ast
import contextlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from import_graph import PATHS, SOURCE, imports
from repix.tasks import TASKS


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


def imports_pyvips(tree: ast.AST) -> list[int]:
    """Lines that import pyvips, at the top or inside a function."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "pyvips" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pyvips")
    ]


def test_pyvips_is_imported_under_io_only() -> None:
    found = [path for path, tree in trees() if imports_pyvips(tree)]
    assert found
    assert all(path.parent == SOURCE / "io" for path in found), found


def lists_suffixes(tree: ast.AST) -> list[int]:
    """Lines of a collection that holds two or more extensions of file names."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Set | ast.Tuple):
            values = node.elts
        elif isinstance(node, ast.Dict):
            values = [*(key for key in node.keys if key is not None), *node.values]
        else:
            continue
        texts = [one.value for one in values if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        if sum(bool(re.fullmatch(r"\.[a-z0-9]{2,5}", text)) for text in texts) >= 2:
            lines.append(node.lineno)
    return lines


def test_formats_are_listed_once() -> None:
    found = [f"{path}:{line}" for path, tree in trees(but="io/formats.py") for line in lists_suffixes(tree)]
    assert not found
    (formats,) = (tree for path, tree in trees() if path == SOURCE / "io" / "formats.py")
    assert lists_suffixes(formats)


def test_lists_of_suffixes_are_seen() -> None:
    for text in ("{'.png', '.jpg'}", "('.jp2', x, '.m4v')", "{'.heic': '.jpg'}", "['.a1', '.b2']"):
        assert lists_suffixes(ast.parse(text)), text
    assert not lists_suffixes(ast.parse("('.png', 'x'); '.png'; {'.tar.gz', '.p'}"))


def test_no_import_cycles() -> None:
    """Between modules, by all imports, those inside functions included. That importing `repix.x.y` runs the
    `__init__` of `repix` and `repix.x` counts for nothing here: `repix` resolves its names on first use."""
    graph = {name: imports(name, inside_functions=True) & PATHS.keys() for name in PATHS}
    assert graph["repix.infer.images"]
    with contextlib.suppress(StopIteration):
        while True:  # what imports nothing that is left, and what nothing that is left imports, is in no cycle
            wanted = set().union(*graph.values())
            del graph[next(name for name in graph if not graph[name] & graph.keys() or name not in wanted)]
    assert not graph, "imports in a circle: " + "; ".join(f"{k} → {sorted(v & graph.keys())}" for k, v in graph.items())


def test_commands_hold_options_and_words() -> None:
    """Long files under cli/ hold a program that belongs elsewhere."""
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in (SOURCE / "cli").glob("*.py")}
    assert lengths["derain.py"]
    assert {name: lines for name, lines in lengths.items() if lines > 160} == {}


NEVER_ONE = {  # counts that are refused, or are not told, where they are one
    ("app/api.py", "frames"),
    ("app/api.py", "photos"),
    ("app/requests.py", "calls"),
    ("app/requests.py", "files"),
    ("cli/merge.py", "frames"),
    ("data/datamodule.py", "images"),
    ("data/pairs.py", "images"),
    ("data/pairs.py", "lists"),
    ("models/repixnet.py", "channels"),
    ("models/repixnet.py", "entries"),
    ("weights.py", "characters"),
}


def counts_in_words(tree: ast.AST) -> list[tuple[int, str]]:
    """Lines of f-strings in which the length of something stands before a word for several; and the word."""
    found = []
    for node in (one for one in ast.walk(tree) if isinstance(one, ast.JoinedStr)):
        for part, text in itertools.pairwise(node.values):
            if isinstance(part, ast.FormattedValue) and isinstance(text, ast.Constant) and "len(" in ast.unparse(part):
                words = re.match(r" (?:[\w.-]+ )?([a-z]+s)\b", str(text.value))
                if words and "counted(" not in ast.unparse(part):
                    found.append((node.lineno, words[1]))
    return found


def test_no_length_is_told_with_the_word_for_several() -> None:
    found = [
        f"{path}:{line}: {word}"
        for path, tree in trees()
        for line, word in counts_in_words(tree)
        if (path.relative_to(SOURCE).as_posix(), word) not in NEVER_ONE
    ]
    assert not found, "repix.errors.counted gives 1 the word for one"


def test_counts_are_seen() -> None:
    assert counts_in_words(ast.parse("f'{len(a)} odd files'")) == [(1, "files")]
    assert not counts_in_words(ast.parse("f'{counted(len(a), 1)} files'"))
