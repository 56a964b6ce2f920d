"""The rules of the code: imports of lower floors, short modules, and code that stands in one place (floors.toml)."""

import importlib.util
import re
import sys
import textwrap
from pathlib import Path

import pytest

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("structure", HERE / "structure.py")
structure = sys.modules["structure"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(structure)

TABLE = structure.read_table()


# ---- gequi itself ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gequi_faults():
    return structure.faults()


RULES = (
    "on one floor", "imports run down", "no circle", "no private parts of others", "one door to escnn",
    "short modules and functions", "faces", "messages are templates", "once", "R's door",
)  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_gequi_keeps_the_rule(gequi_faults, rule):
    assert set(gequi_faults) == set(RULES)
    assert gequi_faults[rule] == []


def test_the_drawing_in_contributing_is_that_of_the_table():
    page = (HERE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert structure.drawn(page, TABLE) == page, "run `python tests/structure.py --write`"


@pytest.mark.parametrize("section", ["A kind of layer", "A similarity of registration", "A class in R"])
def test_the_examples_in_contributing_are_lines_of_the_code(section):
    page = (HERE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    text = page.partition(f"### {section}\n")[2].partition("\n#")[0]
    blocks = re.findall(r"```(python|r)\n(.*?)```", text, re.S)
    assert blocks
    for language, block in blocks:
        folder, pattern = {"python": ("rpkg/inst/python/gequi", "*.py"), "r": ("rpkg/R", "*.R")}[language]
        files = (HERE.parent / folder).rglob(pattern)
        code = "\n".join("".join(file.read_text(encoding="utf-8").split()) for file in files)
        assert [line for line in block.splitlines() if "".join(line.split()) not in code] == []


# ---- each rule can fail ---------------------------------------------------------------------------------

FLOORS = {
    "floor": [{"subjects": ["top"], "holds": ""}, {"subjects": ["one", "two"], "holds": ""},
              {"subjects": ["base", "house"], "holds": ""}],
    "limits": {"module_lines": 12, "function_lines": 4},
    "only_in": [],
    "r": {"door": ["door.R"]},
}  # fmt: skip


@pytest.fixture
def house(tmp_path):
    """A package of the given modules, by path: `house({"one/part.py": "..."})`."""

    def build(**files):
        folder = tmp_path / "house"
        for name, text in {"__init__": "", **files}.items():
            path = folder / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.parent != folder:
                (path.parent / "__init__.py").touch()
            path.write_text(textwrap.dedent(text))
        return structure.Package(folder)

    return build


def test_every_subject_stands_on_one_floor(house):
    package = house(top="", one="", base="", attic="")
    assert structure.misplaced(package, FLOORS) == [
        "attic is on no floor", "two is on a floor, but not in the package",
    ]  # fmt: skip
    twice = {**FLOORS, "floor": [*FLOORS["floor"], {"subjects": ["one", "attic", "two"], "holds": ""}]}
    assert "one is on several floors" in structure.misplaced(package, twice)


@pytest.mark.parametrize(
    "text",
    [
        "from .top import f",
        "from . import top",
        "import house.top",
        "import house.top as roof",
        "from house.top import f",
        "def f():\n    from .top import f\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .top import f\n",
        "import importlib\nimportlib.import_module('house.top')",
    ],
)
def test_an_import_of_a_floor_above_is_found_in_whatever_form(house, text):
    found = structure.upward(house(top="", one="", base=text), FLOORS)
    assert len(found) == 1
    assert found[0].startswith("base:")
    assert found[0].endswith("imports top, from a floor above")


def test_imports_of_the_floors_below_and_of_the_same_floor_are_no_fault(house):
    package = house(
        top="from .one import f", one="from .two import g\nfrom .base import h", two="", base="import numpy"
    )
    assert structure.upward(package, FLOORS) == []
    assert structure.circles(package) == []


def test_packages_are_followed_to_their_modules(house):
    package = house(
        top="",
        one__in__part="from ..top import f\nfrom . import other\nfrom .other import g",
        one__in__other="",
        base="",
    )
    assert package.edges["one.part"] == {"top": 1, "one.other": 2}
    assert structure.upward(package, FLOORS) == ["one.part:1 imports top, from a floor above"]


def test_circles_of_modules_are_found(house):
    package = house(
        one__in__a="from .b import f", one__in__b="def g():\n    from .c import f", one__in__c="from . import a"
    )
    assert structure.circles(package) == ["modules in a circle: one.a -> one.b -> one.c -> one.a"]


def test_circles_of_subjects_are_found_where_no_module_is_in_one(house):
    package = house(one__in__a="from ..two.a import f", one__in__b="", two__in__a="", two__in__b="from ..one import b")
    assert structure.circles(package) == ["subjects in a circle: one -> two -> one"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("from .one._part import f", "top:1 imports one._part, a private module"),
        ("from .one import _part", "top:1 imports one._part, a private module"),
        ("from .one.part import _f", "top:1 imports _f of one.part, a private name"),
        ("from .one import part\npart._f()", "top:2 reads _f of one.part, a private name"),
        ("from .one import __version__", None),
        ("from ._base import f", None),
        ("from .one.part import f\nf._g", None),
    ],
)
def test_private_parts_of_another_subject_are_found(house, text, fault):
    package = house(top=text, one__in___part="", one__in__part="from ._part import _f", _base="")
    assert structure.private(package) == ([fault] if fault else [])


@pytest.mark.parametrize("text", ["import escnn", "import escnn.nn as nn", "from escnn import gspaces"])
def test_escnn_is_imported_by_its_door_only(house, text):
    package = house(base=text, one=text, two="from .base import escnn")
    assert structure.foreign(package, {"external": {"escnn": "base"}}) == ["one:1 imports escnn, which only base may"]


def test_a_door_can_be_a_package(house):
    package = house(base__in__part="import escnn", basement="import escnn", one="", two="")
    found = structure.foreign(package, {"external": {"escnn": "base"}})
    assert found == ["basement:1 imports escnn, which only base may"]


def test_long_modules_are_found(house):
    package = house(one="x = 1\n" * 12, two="x = 1\n" * 13)
    assert structure.too_long(package, FLOORS) == ["two has 13 lines"]


def test_long_functions_are_found_and_docstrings_comments_and_blank_lines_do_not_count(house):
    text = '''
    @decorated
    def f(x):
        """A docstring
        of two lines."""
        # a comment

        a = (1,
             2)
        {}
    '''
    short, long = (house(one=textwrap.dedent(text).format(line)) for line in ("return a", "if a:\n        return a"))
    assert structure.too_long(short, {"limits": {"module_lines": 99, "function_lines": 4}}) == []
    found = structure.too_long(long, {"limits": {"module_lines": 99, "function_lines": 4}})
    assert found == ["one:3 f() has 5 lines of code"]


def test_methods_and_inner_functions_have_their_names(house):
    body = "    def f(self):\n        def g():\n            a\n            b\n            c\n            d\n        return g\n"
    found = structure.too_long(house(one=f"class C:\n{body}"), FLOORS)
    assert found == ["one:2 C.f() has 7 lines of code", "one:3 C.f.g() has 5 lines of code"]


@pytest.mark.parametrize("text", ["x = 1", "def f(): ...", "if True:\n    import os", "f()", "import os\n'''late'''"])
def test_a_face_with_logic_is_found(house, text):
    package = house(
        one__in____init__=f"'''What it is.'''\nfrom .part import f\n__all__ = ['f']\n{text}", one__in__part=""
    )
    assert len(structure.faces_with_logic(package)) == 1


def test_a_face_of_docstring_imports_and_all_is_none(house):
    assert (
        structure.faces_with_logic(
            house(one__in____init__="'''What.'''\nfrom .part import f\n__all__ = ['f']", one__in__part="")
        )
        == []
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("raise InputError(f'got {x}', 'x')", "InputError has a finished message"),
        ("raise errors.InputError('must be ' + f'got {x}')", "InputError has a finished message"),
        ("warnings.warn(f'got {x}', InputError, stacklevel=2)", "InputError has a finished message"),
        ("raise InputError('got {x!r} of {y:list}', 'x', x=1)", "InputError has no value for {y}"),
        ("raise InputError('`{argument}` is {x}', 'x')", "InputError has no value for {x}"),
        ("t = 'got {x}'; raise InputError(t, 'x', y=1)", "InputError has no value for {x}"),
        ("raise InputError('got {x}', f'operand {n}', x=f'{x}')", None),
        ("raise InputError('got {x}', 'x', **fields)", None),
        ("raise InputError('a set is {x}')", None),
        ("raise InputError('`{argument}` is wrong', 'x')", None),
        ("raise ValueError(f'got {x}')", None),
        ("raise InputError(template, 'x')", None),
    ],
)
def test_messages_that_are_no_templates_are_found(house, text, fault):
    package = house(errors="class InputError(Exception):\n    pass", one=text)
    assert structure.bad_messages(package) == ([f"one:1 {fault}"] if fault else [])


def rule(name, **changes):
    """One of the real rules, for the invented package: its one place is base."""
    real = next(each for each in TABLE["only_in"] if each["rule"] == name)
    return {"only_in": [{**real, "module": "base", "except": {}, **changes}]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("one sampler", "from torch.nn import functional\nfunctional.grid_sample(x, y)"),
        ("one sampler", "import torch.nn.functional as F\nF.grid_sample(x, y)"),
        ("one sampler", "import torch\ntorch.nn.functional.grid_sample(x, y)"),
        ("one sampler", "from torch.nn.functional import grid_sample as read\nread(x, y)"),
        ("one sampler", "from scipy import ndimage\nmove = ndimage.affine_transform"),
        ("one sampler", "def f(x, p):\n    low = p.floor().long()\n    return x.gather(0, low)"),
        (
            "one local normalization",
            "def f(x):\n    m = gaussian_filter(x, 2)\n    return (gaussian_filter(x**2, 2) - m**2).sqrt()",
        ),
        ("one local normalization", "def f(x):\n    return F.avg_pool2d(x * x, 3) - F.avg_pool2d(x, 3).square()"),
        ("one quantile stretch", "def f(x):\n    a, b = np.quantile(x, (0, 1))\n    return (x - a) / max(b - a, 1e-9)"),
        (
            "one quantile stretch",
            "def f(x):\n    a, b = x.quantile(0.1), x.quantile(0.9)\n    return (x - a) / (b - a)",
        ),
        (
            "one quantile stretch",
            "def f(x):\n    a, b = x.quantile(q)\n    wide = (b - a).clamp_min(1)\n    return (x - a) / wide",
        ),
        (
            "one quantile stretch",
            "def f(x):\n    low = np.percentile(x, 1)\n    return x / (np.percentile(x, 99) - low)",
        ),
    ],
)
def test_what_is_done_a_second_time_is_found(house, name, text):
    (found,) = structure.repeated(house(base=text, one=text), rule(name))
    assert found.startswith("one:")
    assert found.endswith(f": {name}, in base")
    assert structure.repeated(house(base=text, one=text), rule(name, **{"except": {"one": "a reason"}})) == []
    assert structure.repeated(house(base=text, one=""), rule(name)) == []
    assert structure.repeated(house(base="", one=""), rule(name)) == [f"base does not have it: {name}"]


@pytest.mark.parametrize(
    "text",
    [
        "from .base import grid_sample\ngrid_sample(x, y)",
        "def f(x):\n    return gaussian_filter(residual**2, 2)",
        "def f(x):\n    return (x - low) / (high - low)",
        "def f(x):\n    return np.quantile(x, (0.25, 0.75)) / 2",
    ],
)
def test_what_only_looks_alike_is_no_fault(house, text):
    for each in TABLE["only_in"]:
        found = structure.repeated(house(base="", one=text), rule(each["rule"]))
        assert found == [f"base does not have it: {each['rule']}"]


def test_r_reaches_into_python_in_its_door_only(tmp_path):
    (tmp_path / "door.R").write_text("x <- reticulate::import('gequi')\n")
    (tmp_path / "other.R").write_text(
        "#' @exportS3Method reticulate::r_to_py\n"
        "f <- function(x) x # reticulate::r_to_py\n"
        'g <- "reticulate::r_to_py"\n'
        "h <- function(x) reticulate::r_to_py(x)\n"
        "i <- function(x) x$python$size\n"
        "j <- reticulate:::hidden\n"
    )
    assert structure.around_the_door(tmp_path, FLOORS) == [
        "other.R:4 has reticulate::", "other.R:5 has python$", "other.R:6 has reticulate:::",
    ]  # fmt: skip


def test_the_drawing_is_put_between_its_markers():
    page = f"before\n{structure.BEGIN}\nold\n{structure.END}\nafter\n"
    page = structure.drawn(page, FLOORS)
    assert page.startswith(f"before\n{structure.BEGIN}\n```\ntop ")
    assert page.endswith(f"\n```\n{structure.END}\nafter\n")
    assert "one  two" in page
    assert structure.drawn(page, FLOORS) == page
    with pytest.raises(ValueError, match="the page needs the lines"):
        structure.drawn("before", FLOORS)
