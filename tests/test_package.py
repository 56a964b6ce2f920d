"""The package as a whole: public names, versions, and facts that are stated in two files."""

import functools
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gequi

ROOT = Path(__file__).parent.parent


def test_every_public_name_is_a_function_with_its_arguments_result_errors_and_an_example():
    for name in gequi.__all__:
        function = getattr(gequi, name)
        assert callable(function), name
        assert function.__doc__, name
        assert "Returns:" in function.__doc__, name
        assert re.search(r"Example:\n[^>]*>>> ", function.__doc__), name
        assert "Args:" in function.__doc__ or not inspect.signature(function).parameters, name
        assert "Raises:" in function.__doc__ or "never fails" in function.__doc__, name


def test_what_rests_on_a_paper_names_it_in_both_languages():
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "rpkg" / "man").glob("*.Rd")]
    with_papers = {
        alias for page in pages if "\\references{" in page for alias in re.findall(r"\\alias\{(.*?)\}", page)
    }
    assert len(with_papers) > 20
    missing = [name for name in gequi.__all__ if name in with_papers and "Source:" not in getattr(gequi, name).__doc__]
    assert not missing


def test_public_names_are_in_order_and_once():
    assert gequi.__all__ == sorted(set(gequi.__all__))


def test_every_class_of_errors_and_warnings_is_reachable_from_the_top():
    kinds = {
        name: kind
        for name, kind in vars(gequi.errors).items()
        if isinstance(kind, type) and issubclass(kind, gequi.errors.Message) and not name.endswith("Message")
    }
    assert {"GequiError", "InputError", "GequiWarning"} <= kinds.keys()
    assert {name: getattr(gequi, name, None) for name in kinds} == kinds


FORKED = """
import os, numpy as np, gequi, torch
network = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", seed=1, layers=[
    {"layer": "conv", "fields": "regular", "kernel_size": 5}])
x = np.ones((8, 1, 60, 60))
assert torch.get_num_threads() == 2
here = gequi.predict(network, x)
child = os.fork()
if child == 0:
    os._exit(0 if np.allclose(gequi.predict(network, x), here, atol=1e-5) else 1)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_a_forked_process_computes_where_torch_has_threads():
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    assert subprocess.run([sys.executable, "-c", FORKED], timeout=60, env=environment, check=False).returncode == 0


def test_the_version_is_the_same_in_both_languages():
    description = (ROOT / "rpkg" / "DESCRIPTION").read_text(encoding="utf-8")
    assert re.search(r"^Version: (.*)$", description, re.M).group(1) == gequi.__version__


def test_the_dependencies_that_r_installs_are_those_of_the_project():
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    in_r = (ROOT / "rpkg" / "R" / "python.R").read_text(encoding="utf-8")
    block = re.search(r"c\(\n(.*?)\n\)", in_r, re.S).group(1)
    assert sorted(re.findall(r'"([^"]+)"', block)) == sorted(dependencies)


def test_the_lock_pins_every_dependency_once():
    lock = (ROOT / "python" / "requirements.lock").read_text()
    pins = re.findall(r"^([a-z0-9._-]+)==\S+$", lock, re.M)
    assert len(pins) == len(set(pins))
    for dependency in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]:
        assert re.match(r"[a-z0-9_-]+", dependency).group() in pins
    assert not [pin for pin in pins if pin in ("lie-learn", "py3nj") or pin.startswith("nvidia")]


@pytest.mark.parametrize("link", ["DESCRIPTION", "vignettes", "python/gequi"])
def test_the_links_of_the_layout_are_links(link):
    assert (ROOT / link).is_symlink()
    assert (ROOT / link).exists()


def test_the_r_package_installs_from_a_checkout_without_links(tmp_path):
    links = [path for path in (ROOT / "rpkg").rglob("*") if path.is_symlink()]
    assert links == []  # Git for Windows writes the target's name into a text file
    shutil.copytree(
        ROOT / "rpkg", tmp_path / "rpkg", ignore=shutil.ignore_patterns("__pycache__", "vignettes", "tests")
    )
    library = tmp_path / "library"
    library.mkdir()
    quick = ("--no-docs", "--no-byte-compile", "--no-test-load", "--no-lock")
    run = functools.partial(subprocess.run, check=True, capture_output=True, text=True, cwd=tmp_path)
    run(["R", "CMD", "INSTALL", *quick, f"--library={library}", "rpkg"])
    code = 'cat(gequiR::gspace("rot2dOnR2", N = 4)$name, system.file("python", "gequi", package = "gequiR"))'
    environment = {**os.environ, "R_LIBS": f"{library}{os.pathsep}{os.environ.get('R_LIBS', '')}"}
    environment["RETICULATE_PYTHON"] = sys.executable
    printed = run(["Rscript", "--vanilla", "-e", code], env=environment).stdout
    assert str(library) in printed


PAGES = sorted((ROOT / "rpkg" / "vignettes").glob("*.Rmd"))
PAGES_THAT_CALL_THE_PACKAGE = [page for page in PAGES if page.stem != "everyday"]  # which counts lines and runs none


@pytest.mark.parametrize("page", PAGES_THAT_CALL_THE_PACKAGE, ids=lambda page: page.stem)
def test_a_vignette_shows_code_only_where_there_is_no_python(page):
    setup, rest = page.read_text(encoding="utf-8").split("```", 2)[1:]
    assert re.search(r"eval = (gequiR::gequi_available\(\)|has_training)", setup)
    assert "gequi_available()" in setup
    if "`r " in rest:  # which `eval` does not hold back
        assert "evaluate.inline" in setup
