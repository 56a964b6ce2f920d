"""Mutants: which small changes of the core do its tests notice?

    nice python tests/mutants.py [SUBJECT ...] [--each 40] [--seed 1] [--list] [--only NUMBER ...]

A mutant is a module with one change: a comparison, a sign, an operation of arithmetic or of logic, a constant, a
condition that is turned round or always true, a guard that is left out. A sample is drawn from all of them. The files
of tests of the subject run on each in a process of its own, the quickest tests first, until one fails; nothing on the
disk is changed. A mutant that no test notices survives, and is printed with its line. One that runs much longer than the tests without a
change counts as noticed.

The score is the share that is noticed. 100 % is not to be had: some changes change nothing that anyone could see.
"""

import argparse
import ast
import contextlib
import copy
import importlib
import importlib.abc
import importlib.util
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORE = ROOT / "rpkg" / "inst" / "python"
SUBJECTS = {  # its modules, and the tests that must notice
    "groups": (["groups/element", "groups/representation", "groups/space"], ["test_groups.py"]),
    "fields": (["fields"], ["test_fields.py"]),
    "maps": (["maps", "geometry/tensor_maps"], ["test_maps.py"]),
    "symmetry": (
        ["symmetry/equivariance", "symmetry/interpolation", "symmetry/operators", "symmetry/permutations"],
        ["test_symmetry.py"],
    ),
    "saving": (["saving"], ["test_saving.py", "test_bases.py"]),  # the second: files on bases of before
    "equations": (["registration/equations"], ["test_registration/test_equations.py"]),
    "curves": (["registration/curves"], ["test_registration/test_curves.py"]),
}
SLOWEST = 3.0  # times as long as the tests without a change, and then
SECONDS = 20.0  # more

# ---- changes ----------------------------------------------------------------------------------------------

COMPARISONS: dict[type, list[type]] = {
    ast.Lt: [ast.LtE, ast.GtE], ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.LtE], ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.Is: [ast.IsNot], ast.IsNot: [ast.Is], ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}  # fmt: skip
ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.FloorDiv: ast.Div, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
CALLS = {
    "isfinite": "isnan", "min": "max", "max": "min", "argmin": "argmax", "argmax": "argmin", "all": "any", "any": "all",
    "sin": "cos", "cos": "sin", "floor": "ceil", "ceil": "floor", "minimum": "maximum", "maximum": "minimum",
}  # fmt: skip
LEFT_OUT = {"abs", "clamp_min", "clamp", "sorted", "sqrt", "rsqrt", "conj", "round", "float", "contiguous", "exp"}


def changes_of(node: ast.AST) -> Iterator[ast.AST | None]:
    """What may stand in the place of a node; None is nothing, for a statement."""
    match node:
        case ast.Compare(ops=[operation]) if type(operation) in COMPARISONS:
            for other in COMPARISONS[type(operation)]:
                yield ast.Compare(node.left, [other()], node.comparators)
        case ast.BinOp(op=ast.MatMult()):
            yield ast.BinOp(node.right, node.op, node.left)
        case ast.BinOp() if type(node.op) in ARITHMETIC and not _is_text(node):
            yield ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
        case ast.UnaryOp(op=ast.USub() | ast.Not()):
            yield node.operand
        case ast.BoolOp():
            yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield ast.Constant(node.value + 1)
        case ast.Constant(value=float()) if node.value:
            yield ast.Constant(1 / node.value if abs(node.value) < 1e-2 else 2 * node.value)
        case ast.If() | ast.IfExp() | ast.While():
            for test in (ast.UnaryOp(ast.Not(), node.test), ast.Constant(True)):
                if not (isinstance(node, ast.While) and isinstance(test, ast.Constant)):
                    changed = copy.copy(node)
                    changed.test = test
                    yield changed
        case ast.comprehension() if node.ifs:
            yield ast.comprehension(node.target, node.iter, [ast.Constant(True)], node.is_async)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            yield from _calls(node, name)
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()


def _calls(node: ast.Call, name: str) -> Iterator[ast.AST]:
    """Another function of the same arguments, or the first argument alone."""
    if name in CALLS and (isinstance(node.func, ast.Attribute) or name in {"min", "max", "all", "any"}):
        function = copy.copy(node.func)
        setattr(function, "id" if isinstance(function, ast.Name) else "attr", CALLS[name])
        yield ast.Call(function, node.args, node.keywords)
    if name in LEFT_OUT:
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        if isinstance(owner, ast.Name) and owner.id in {"np", "torch", "math"} and node.args:
            owner = None
        yield owner if owner is not None else node.args[0]


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(each, ast.Constant | ast.JoinedStr) and isinstance(getattr(each, "value", ""), str)
        for each in (node.left, node.right)
    )


def places(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Where a node of the code stands: its parent, the field, and the number in it. Messages and types are left out."""
    for parent in _code(tree):
        for field, value in ast.iter_fields(parent):
            if field in {"annotation", "returns", "decorator_list"}:
                continue
            for number, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(node, ast.AST):
                    yield parent, field, number


def _code(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    yield node
    for field, value in ast.iter_fields(node):
        if field not in {"annotation", "returns", "decorator_list"}:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _code(child)


def mutants(module: str) -> list[tuple[int, str, ast.Module]]:
    """All mutants of a module: the line, what it says then, and its tree."""
    tree = ast.parse((CORE / "gequi" / f"{module}.py").read_text())
    found = []
    for parent, field, number in list(places(tree)):
        whole = getattr(parent, field)
        node = whole if number is None else whole[number]
        if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr):
            continue
        for changed in changes_of(node):
            line = getattr(node, "lineno", getattr(parent, "lineno", 0))
            said = f"{_said(node)}  ->  {_said(changed)}"
            if number is None:
                setattr(parent, field, changed)
            else:
                whole[number] = changed
            found.append((line, said, ast.fix_missing_locations(copy.deepcopy(tree))))
            if number is None:
                setattr(parent, field, node)
            else:
                whole[number] = node
    return found


def _said(node: ast.AST) -> str:
    shown = node.test if isinstance(node, ast.If | ast.While) else node
    text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(shown))).splitlines()[0].strip()
    return ("if " if isinstance(node, ast.If) else "") + (text if len(text) <= 70 else text[:67] + "...")


# ---- the tests on a mutant --------------------------------------------------------------------------------


class _Order:
    """The tests in the order of the seconds that each took without a change, which the first run notes in a file."""

    def __init__(self, file: Path) -> None:
        self.file, self.seconds = file, json.loads(file.read_text()) if file.exists() else {}
        self.known = bool(self.seconds)

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0.0))

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self):
        if not self.known:
            self.file.write_text(json.dumps(self.seconds))


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Gives one module of gequi as another tree."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self.name = "gequi." + module.replace("/", ".")
        self.file, self.tree = str(CORE / "gequi" / f"{module}.py"), tree

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_file_location(name, self.file, loader=self) if name == self.name else None

    def get_filename(self, name: str) -> str:
        return self.file

    def get_data(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def get_code(self, name: str):
        return compile(self.tree, self.file, "exec")


def noticed(tests: list[str], module: str, tree: ast.Module | None, limit: float, order: Path) -> tuple[str, float]:
    """Whether the tests notice: "failed", "slow" or "" for a mutant that survives; and the seconds that it took.

    The process is forked from this one, which has imported escnn and made its large groups, and imports gequi anew.
    """
    start = time.monotonic()
    child = os.fork()
    if not child:
        _run_tests(tests, module, tree, order)
    while time.monotonic() - start < limit:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return "failed" if status else "", time.monotonic() - start
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "slow", time.monotonic() - start


def _run_tests(tests: list[str], module: str, tree: ast.Module | None, order: Path) -> None:
    """In the child: never returns."""
    import pytest

    os.setpgrp()
    os.chdir(ROOT)
    for name in [each for each in sys.modules if each.split(".")[0] == "gequi" and "._escnn" not in each]:
        del sys.modules[name]
    said = io.StringIO()
    silence, shown = os.open(os.devnull, os.O_WRONLY), os.dup(2)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    if tree is not None:
        sys.meta_path.insert(0, _Mutated(module, tree))
    try:
        importlib.import_module("gequi")._escnn = sys.modules["gequi._escnn"]  # the one part that is not imported anew
    except Exception:
        os._exit(1)
    files = [str(ROOT / "tests" / each) for each in tests]
    with contextlib.redirect_stdout(said):
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *files], [_Order(order)])
    if code and tree is None:  # without a change, a failure is one of the tests or of this program
        os.write(shown, said.getvalue().encode())
    os._exit(int(code))


def score(subject: str, each: int, seed: int, only: list[int]) -> tuple[int, int]:
    """Prints the survivors of a sample of a subject; returns how many were noticed, of how many."""
    modules, tests = SUBJECTS[subject]
    everything = [(module, *mutant) for module in modules for mutant in mutants(module)]
    numbers = only or sorted(random.Random(seed).sample(range(len(everything)), min(each, len(everything))))
    order = Path(tempfile.mkdtemp(prefix="gequi-mutants-")) / "seconds.json"
    outcome, usual = noticed(tests, "", None, 3600, order)
    if outcome:
        raise SystemExit(f"the tests of {subject} fail without any change")
    limit = SLOWEST * usual + SECONDS
    caught = 0
    for number in numbers:
        module, line, said, tree = everything[number]
        outcome, _ = noticed(tests, module, tree, limit, order)
        caught += bool(outcome)
        if not outcome:
            print(f"  {number}: {module}.py:{line}  {said}", flush=True)
    shutil.rmtree(order.parent)
    share = 100 * caught / len(numbers)
    print(f"{subject}: {caught} of {len(numbers)} noticed ({share:.0f} %), of {len(everything)}; {usual:.0f} s each")
    sys.stdout.flush()
    return caught, len(numbers)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("subjects", nargs="*", default=list(SUBJECTS), metavar="SUBJECT")
    arguments.add_argument("--each", type=int, default=40, help="mutants of each subject")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--only", type=int, nargs="*", default=[], help="these mutants of one subject")
    arguments.add_argument("--list", action="store_true", help="all mutants, without running anything")
    given = arguments.parse_args()
    if given.list:
        for subject in given.subjects:
            everything = [(module, *mutant) for module in SUBJECTS[subject][0] for mutant in mutants(module)]
            for number, (module, line, said, _) in enumerate(everything):
                print(f"{subject} {number}: {module}.py:{line}  {said}")
        raise SystemExit
    import numpy  # noqa: F401  (what the children share)
    import pytest  # noqa: F401
    import scipy.ndimage  # noqa: F401
    import torch

    from gequi._escnn import escnn

    torch.set_num_threads(1)
    for make in ("octa_group", "full_octa_group", "ico_group", "full_ico_group"):
        getattr(escnn.group, make)()
    print(
        f"Mutants: a sample of {given.each} a subject, seed {given.seed}; those that survive, and the share noticed\n"
    )
    results = [score(subject, given.each, given.seed, given.only) for subject in given.subjects]
    caught, count = (sum(each) for each in zip(*results, strict=True))
    print(f"\nAll: {caught} of {count} noticed ({100 * caught / count:.0f} %)")
