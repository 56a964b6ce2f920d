"""How the code is organised, checked: what imports what, the sizes of its parts, and what stands in one place only.

The table is tests/floors.toml. `python tests/structure.py` lists what does not agree with it, and
`python tests/structure.py --write` draws it into CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
import io
import re
import string
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- floors: written by `python tests/structure.py --write` -->", "<!-- floors end -->"


def read_table(path: Path = ROOT / "tests" / "floors.toml") -> dict[str, Any]:
    """The floors, the limits and the rules."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


# ---- the code -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Import:
    """One name that a module imports: from where, what, and as what. `name` is None for a whole module."""

    line: int
    module: str
    name: str | None
    bound: str


@dataclass
class Module:
    """A module of the package: `name` is relative to it, "" for its own face."""

    name: str
    is_face: bool
    text: str
    tree: ast.Module = field(init=False)

    def __post_init__(self) -> None:
        self.tree = ast.parse(self.text)

    @property
    def subject(self) -> str:
        return self.name.partition(".")[0]

    @property
    def shown(self) -> str:
        return self.name or "gequi"

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes of the syntax tree."""
        return list(ast.walk(self.tree))

    @cached_property
    def functions(self) -> list[tuple[str, ast.AST]]:
        """All functions and methods by their qualified names."""
        found: list[tuple[str, ast.AST]] = []

        def walk(node: ast.AST, prefix: str) -> None:
            for child in ast.iter_child_nodes(node):
                named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                name = f"{prefix}{child.name}" if named else prefix.rstrip(".")
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                    found.append((name, child))
                walk(child, f"{name}." if named else prefix)

        walk(self.tree, "")
        return found

    @cached_property
    def code_lines(self) -> set[int]:
        """The lines that hold code: neither blank nor a comment."""
        nothing = {
            tokenize.COMMENT,
            tokenize.NL,
            tokenize.NEWLINE,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.ENDMARKER,
        }
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in nothing:
                lines.update(range(token.start[0], token.end[0] + 1))
        return lines


class Package:
    """The modules of a package and what they import of each other."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.modules: dict[str, Module] = {}
        self._imports: dict[str, list[Import]] = {}
        for path in sorted(folder.rglob("*.py")):
            parts = list(path.relative_to(folder).with_suffix("").parts)
            is_face = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_face else parts)
            self.modules[name] = Module(name, is_face, path.read_text(encoding="utf-8"))

    def imports(self, module: Module) -> list[Import]:
        """Every import in a module, also those within functions, with absolute names."""
        if module.name not in self._imports:
            self._imports[module.name] = list(self._find_imports(module))
        return self._imports[module.name]

    def _find_imports(self, module: Module) -> Iterator[Import]:
        for node in module.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(node.lineno, alias.name, None, alias.asname or alias.name.partition(".")[0])
            elif isinstance(node, ast.ImportFrom):
                source = self._absolute(module, node)
                for alias in node.names:
                    yield Import(node.lineno, source, alias.name, alias.asname or alias.name)
            elif isinstance(node, ast.Call) and _last_name(node.func) == "import_module" and node.args:
                target = node.args[0]
                if isinstance(target, ast.Constant) and isinstance(target.value, str):
                    yield Import(node.lineno, target.value, None, "")

    def _absolute(self, module: Module, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = [self.name, *filter(None, module.name.split("."))]
        parts = parts[: len(parts) - node.level + (1 if module.is_face else 0)]
        return ".".join([*parts, *filter(None, [node.module])])

    def targets(self, module: Module) -> Iterator[tuple[Import, Module, str | None]]:
        """The imports that lead to a module of the package, and the name that is taken from it."""
        for each in self.imports(module):
            if each.module.partition(".")[0] != self.name:
                continue
            source = each.module.partition(".")[2]
            inner = f"{source}.{each.name}".lstrip(".") if each.name else source
            if inner in self.modules:
                yield each, self.modules[inner], None
            elif source in self.modules:
                yield each, self.modules[source], each.name

    @cached_property
    def edges(self) -> dict[str, dict[str, int]]:
        """module -> the modules that it imports, and the line where it does."""
        return {
            name: {
                target.name: each.line for each, target, _ in reversed([*self.targets(module)]) if target is not module
            }
            for name, module in self.modules.items()
        }


# ---- imports --------------------------------------------------------------------------------------------


def misplaced(package: Package, table: Mapping[str, Any]) -> list[str]:
    """Subjects on no floor or on several, and names in the table that no subject has."""
    placed = [subject for floor in table["floor"] for subject in floor["subjects"]]
    subjects = {module.subject or package.name for module in package.modules.values()}
    return [
        *(f"{subject} is on no floor" for subject in sorted(subjects - set(placed))),
        *(f"{subject} is on a floor, but not in the package" for subject in sorted(set(placed) - subjects)),
        *(f"{subject} is on several floors" for subject in sorted({each for each in placed if placed.count(each) > 1})),
    ]


def upward(package: Package, table: Mapping[str, Any]) -> list[str]:
    """Imports of a floor above."""
    level = {subject: number for number, floor in enumerate(table["floor"]) for subject in floor["subjects"]}
    found = []
    for name, targets in package.edges.items():
        for target, line in targets.items():
            here, there = (level.get(each.partition(".")[0] or package.name) for each in (name, target))
            if here is not None and there is not None and there < here:
                found.append(
                    f"{package.modules[name].shown}:{line} imports {target or package.name}, from a floor above"
                )
    return found


def circles(package: Package) -> list[str]:
    """Modules, or subjects, that import each other in a circle."""
    subjects: dict[str, dict[str, int]] = {}
    for name, targets in package.edges.items():
        for target in targets:
            here, there = name.partition(".")[0], target.partition(".")[0]
            subjects.setdefault(there, {})
            if here != there:
                subjects.setdefault(here, {})[there] = 0
    found = [("modules", circle) for circle in _circles(package.edges)]
    found += [("subjects", circle) for circle in _circles(subjects)]
    return [f"{kind} in a circle: {' -> '.join(each or package.name for each in circle)}" for kind, circle in found]


def _circles(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """One circle for each set of nodes that reach each other."""
    reach = {node: _reachable(node, edges) for node in edges}
    found, seen = [], set()
    for node in sorted(edges):
        if node in reach[node] and node not in seen:
            together = {each for each in reach[node] if node in reach.get(each, ())}
            seen |= together
            found.append(_path(node, edges, together))
    return found


def _reachable(start: str, edges: Mapping[str, Iterable[str]]) -> set[str]:
    found: set[str] = set()
    open_ = [start]
    while open_:
        for each in edges.get(open_.pop(), ()):
            if each not in found:
                found.add(each)
                open_.append(each)
    return found


def _path(start: str, edges: Mapping[str, Iterable[str]], within: set[str]) -> list[str]:
    """The shortest way from a node back to itself."""
    open_ = [[start]]
    while True:
        way = open_.pop(0)
        for each in edges.get(way[-1], ()):
            if each == start:
                return [*way, start]
            if each in within and each not in way:
                open_.append([*way, each])


def private(package: Package) -> list[str]:
    """Private modules and private names of another subject, also as an attribute of an imported module."""
    found = []
    for module in package.modules.values():
        bound: dict[str, Module] = {}
        for each, target, name in package.targets(module):
            if target.subject == module.subject:
                continue
            if any(_is_private(part) for part in target.name.split(".")[1:]):
                found.append(f"{module.shown}:{each.line} imports {target.name}, a private module")
            if name is not None and _is_private(name):
                found.append(f"{module.shown}:{each.line} imports {name} of {target.shown}, a private name")
            if name is None:
                bound[each.bound] = target
        for node in module.nodes:
            if isinstance(node, ast.Attribute) and _is_private(node.attr):
                owner = bound.get(_last_name(node.value)) if isinstance(node.value, ast.Name) else None
                if owner is not None:
                    found.append(f"{module.shown}:{node.lineno} reads {node.attr} of {owner.shown}, a private name")
    return list(dict.fromkeys(found))


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def foreign(package: Package, table: Mapping[str, Any]) -> list[str]:
    """Imports of a package that one other module alone, or one package, may import."""
    return [
        f"{module.shown}:{each.line} imports {head}, which only {table['external'][head]} may"
        for module in package.modules.values()
        for each in package.imports(module)
        for head in [each.module.partition(".")[0]]
        for door in [table["external"].get(head, module.name)]
        if module.name != door and not module.name.startswith(f"{door}.")
    ]


# ---- sizes and faces ------------------------------------------------------------------------------------


def too_long(package: Package, table: Mapping[str, Any]) -> list[str]:
    """Modules and functions over their limits."""
    most_lines, most_code = table["limits"]["module_lines"], table["limits"]["function_lines"]
    found = []
    for module in package.modules.values():
        lines = len(module.text.splitlines())
        if lines > most_lines:
            found.append(f"{module.shown} has {lines} lines")
        for name, function in module.functions:
            count = code_length(module, function)
            if count > most_code:
                found.append(f"{module.shown}:{function.lineno} {name}() has {count} lines of code")  # type: ignore[attr-defined]
    return found


def code_length(module: Module, function: Any) -> int:
    """The lines of code of a function, without its decorators, docstring, comments and blank lines."""
    lines = set(range(function.lineno, function.end_lineno + 1))
    if ast.get_docstring(function) is not None:
        lines -= set(range(function.body[0].lineno, function.body[0].end_lineno + 1))
    return len(module.code_lines & lines)


def faces_with_logic(package: Package) -> list[str]:
    """Statements of an __init__.py that are more than its docstring, its imports and __all__."""
    found = []
    for module in package.modules.values():
        if not module.is_face:
            continue
        extra = []
        for number, node in enumerate(module.tree.body):
            docstring = number == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            names = [target.id for target in getattr(node, "targets", []) if isinstance(target, ast.Name)]
            if not (docstring or isinstance(node, ast.Import | ast.ImportFrom) or names == ["__all__"]):
                extra.append(str(node.lineno))
        found += [f"{module.shown} does more than a face, at the lines {', '.join(extra)}"] if extra else []
    return found


def bad_messages(package: Package) -> list[str]:
    """Messages of gequi's errors and warnings that are finished text, or templates with a field that has no value."""
    errors = package.modules.get("errors")
    kinds = {node.name for node in errors.tree.body if isinstance(node, ast.ClassDef)} if errors else set()
    found = []
    for module in package.modules.values():
        texts = _texts_by_name(module)
        for node in module.nodes:
            if not isinstance(node, ast.Call) or not node.args:
                continue
            kind = next((_last_name(each) for each in (node.func, *node.args[1:2]) if _last_name(each) in kinds), None)
            if not kind:
                continue
            if any(isinstance(each, ast.JoinedStr) for each in ast.walk(node.args[0])):
                found.append(f"{module.shown}:{node.lineno} {kind} has a finished message")
            given = {keyword.arg for keyword in node.keywords}
            for name in _fields(node.args[0], texts) if None not in given else ():
                if name not in given | {"argument"} and (given or "argument" in _fields(node.args[0], texts)):
                    found.append(f"{module.shown}:{node.lineno} {kind} has no value for {{{name}}}")
    return found


def _texts_by_name(module: Module) -> dict[str, list[tuple[int, str]]]:
    """The texts that are assigned to each name of a module, with their lines."""
    found: dict[str, list[tuple[int, str]]] = {}
    for node in module.nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for target in node.targets:
                found.setdefault(_last_name(target), []).append((node.lineno, node.value.value))
    return found


def _fields(template: ast.AST, texts: Mapping[str, list[tuple[int, str]]]) -> list[str]:
    """The names of a template's fields, where it is a text or a name that was given one shortly before."""
    text = template.value if isinstance(template, ast.Constant) else None
    if isinstance(template, ast.Name):
        before = [each for each in texts.get(template.id, ()) if each[0] <= template.lineno]
        text = max(before)[1] if before else None
    if not isinstance(text, str):
        return []
    return [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]


# ---- what stands in one place only ----------------------------------------------------------------------


def repeated(package: Package, table: Mapping[str, Any]) -> list[str]:
    """What one module does and another does again; and rules whose module does nothing of the kind."""
    found = []
    for rule in table["only_in"]:
        home = 0
        for module in package.modules.values():
            uses = [*_calls(package, module, rule["calls"]), *_patterns(module, rule["patterns"])]
            if module.name == rule["module"]:
                home = len(uses)
            elif module.name not in rule.get("except", {}):
                found += [f"{module.shown}:{line} {what}: {rule['rule']}, in {rule['module']}" for line, what in uses]
        if not home:
            found.append(f"{rule['module']} does not have it: {rule['rule']}")
    return found


def _calls(package: Package, module: Module, names: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Where a module names one of these functions, in whatever way it was imported."""
    bound = {}
    for each in package.imports(module):
        plain = each.name is None and each.module.startswith(f"{each.bound}.")  # import a.b binds a
        bound[each.bound] = f"{each.module}.{each.name}" if each.name else each.bound if plain else each.module
    wanted = set(names)
    for node in module.nodes:
        if not isinstance(node, ast.Attribute | ast.Name):
            continue
        full = _dotted(node)
        if full is None:
            if isinstance(node, ast.Attribute) and f".{node.attr}" in wanted:
                yield node.lineno, node.attr
            continue
        head, _, rest = full.partition(".")
        absolute = f"{bound.get(head, head)}.{rest}" if rest else bound.get(head, "")
        if absolute in wanted:
            yield node.lineno, absolute
        elif head not in bound and isinstance(node, ast.Attribute) and f".{node.attr}" in wanted:
            yield node.lineno, node.attr


def _patterns(module: Module, names: Iterable[str]) -> Iterator[tuple[int, str]]:
    wanted = set(names)
    for name, function in module.functions if wanted else ():
        called = {_last_name(node.func): node for node in ast.walk(function) if isinstance(node, ast.Call)}
        if (
            "interpolation" in wanted
            and "floor" in called
            and called.keys() & {"gather", "index_select", "take_along_dim"}
        ):
            yield function.lineno, f"{name}() interpolates"  # type: ignore[attr-defined]
        if "quantile stretch" in wanted and _stretches(function):
            yield function.lineno, f"{name}() stretches"  # type: ignore[attr-defined]
        if "local variance" in wanted and _computes_local_variance(function):
            yield function.lineno, f"{name}() computes a local variance"  # type: ignore[attr-defined]


def _computes_local_variance(function: ast.AST) -> bool:
    """Whether a function smooths a square and takes the square of something away: smooth(x^2) - smooth(x)^2."""
    nodes = [*ast.walk(function)]
    smooth = re.compile("gaussian|uniform_filter|avg_pool|smooth|blur")
    return any(
        isinstance(node, ast.Call) and smooth.search(_last_name(node.func)) and any(map(_is_square, ast.walk(node)))
        for node in nodes
    ) and any(isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and _is_square(node.right) for node in nodes)


def _stretches(function: ast.AST) -> bool:
    """Whether a function takes quantiles and divides by a difference, which may have a name: (x - low) / (high - low)."""
    nodes = [*ast.walk(function)]
    differences = {
        target.id
        for node in nodes
        if isinstance(node, ast.Assign) and any(map(_is_difference, ast.walk(node.value)))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    quantile = re.compile("quantile|percentile|kthvalue")
    return any(isinstance(node, ast.Call) and quantile.search(_last_name(node.func)) for node in nodes) and any(
        _is_difference(part) or _last_name(part) in differences
        for node in nodes
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
        for part in ast.walk(node.right)
    )


def _is_difference(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)


def _is_square(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return isinstance(node.right, ast.Constant) and node.right.value == 2
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return ast.dump(node.left) == ast.dump(node.right)
    return isinstance(node, ast.Call) and _last_name(node.func) == "square"


def _last_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _dotted(node: ast.AST) -> str | None:
    """a.b.c of names alone; None where something is called or indexed on the way."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


# ---- R --------------------------------------------------------------------------------------------------


def around_the_door(folder: Path, table: Mapping[str, Any]) -> list[str]:
    """Code of R that reaches into Python outside the files that may: `reticulate::` and `python$`."""
    found = []
    for path in sorted(folder.glob("*.R")):
        if path.name in table["r"]["door"]:
            continue
        for number, line in enumerate(_code_of_r(path.read_text(encoding="utf-8")).splitlines(), start=1):
            reached = re.search(r"\breticulate:{2,3}|\bpython\$", line)
            if reached:
                found.append(f"{path.name}:{number} has {reached.group()}")
    return found


def _code_of_r(text: str) -> str:
    """R code without its comments and texts, its lines in place."""
    tokens = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`|#[^\n]*"
    return re.sub(tokens, lambda found: "\n" * found.group().count("\n"), text)


# ---- the drawing ----------------------------------------------------------------------------------------


def drawing(table: Mapping[str, Any]) -> str:
    """The floors as text."""
    floors = [("  ".join(floor["subjects"]), floor["holds"]) for floor in table["floor"]]
    width = max(len(subjects) for subjects, _ in floors)
    lines = [f"{subjects:<{width}}   {holds}" for subjects, holds in floors]
    return "\n".join([BEGIN, "```", *lines, "```", END])


def drawn(page: str, table: Mapping[str, Any]) -> str:
    """A page with the drawing between its two markers."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return before + drawing(table) + after


def faults(root: Path = ROOT) -> dict[str, list[str]]:
    """What does not agree with the table, rule by rule."""
    table, package = read_table(root / "tests" / "floors.toml"), Package(root / "rpkg" / "inst" / "python" / "gequi")
    return {
        "on one floor": misplaced(package, table),
        "imports run down": upward(package, table),
        "no circle": circles(package),
        "no private parts of others": private(package),
        "one door to escnn": foreign(package, table),
        "short modules and functions": too_long(package, table),
        "faces": faces_with_logic(package),
        "messages are templates": bad_messages(package),
        "once": repeated(package, table),
        "R's door": around_the_door(root / "rpkg" / "R", table),
    }


if __name__ == "__main__":
    if "--write" in sys.argv:
        path = ROOT / "CONTRIBUTING.md"
        path.write_text(drawn(path.read_text(encoding="utf-8"), read_table()), encoding="utf-8")
    else:
        for rule, found in faults().items():
            print(f"{rule}: {len(found) or 'holds'}", *found, sep="\n  ")
