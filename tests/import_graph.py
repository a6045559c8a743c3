"""What the modules of repix import, read from their source."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

import repix

SOURCE = Path(repix.__file__).parent
PATHS = {
    ".".join(parts[:-1] if parts[-1] == "__init__" else parts): path
    for path in sorted(SOURCE.rglob("*.py"))
    for parts in [path.relative_to(SOURCE.parent).with_suffix("").parts]
}
"""Name of a module -> its file."""


def part(module: str) -> str:
    """`repix.infer.tiling` -> `infer`; `repix` itself -> `__init__`."""
    return [*module.split("."), "__init__"][1]


@lru_cache
def imports(module: str, *, inside_functions: bool) -> frozenset[str]:
    """Absolute names of the modules that a module of repix imports: ours in full, others by their first name.

    Args:
        module: a key of `PATHS`.
        inside_functions: also what functions import when they run. What is for type checkers alone never counts.
    """
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for child in node.orelse:
                visit(child)
            return
        if not inside_functions and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in PATHS else node.module)
        for below in ast.iter_child_nodes(node):
            visit(below)

    visit(ast.parse(PATHS[module].read_text(encoding="utf-8")))
    return frozenset(name if name in PATHS else name.split(".")[0] for name in found) - {module}


def loaded(module: str) -> dict[str, tuple[str, ...]]:
    """Everything that importing a module loads, by imports at the top of files alone -> the way there, of ours."""
    ways: dict[str, tuple[str, ...]] = {module: (module,)}
    queue = [module]
    while queue:
        name = queue.pop()
        parents = {name.rpartition(".")[0]} - {""}
        for other in imports(name, inside_functions=False) | parents:
            if other not in ways:
                ways[other] = (*ways[name], other)
                if other in PATHS:
                    queue.append(other)
    return ways
