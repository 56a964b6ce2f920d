"""Every public name exists in both languages, with the same arguments and a test that compares the results."""

import inspect
import re
import tomllib
from pathlib import Path

import pytest

import gequi

HERE = Path(__file__).parent

# Functions that only R has: set-up, and data sets.
ONLY_IN_R = {
    "install_gequi", "gequi_sitrep", "gequi_available", "as_image_batch", "marshal", "unmarshal", "tidy", "glance", "augment", "autoplot", "fit_parsnip",
}  # fmt: skip
# R's own generics: their methods for a network.
METHODS = {"predict": "predict.gequi_network", "fit": "fit.gequi_network"}
# The plots of objects that have a class in R only: R has a method of plot(), Python a function. See test_plots.py.
PLOTS = {
    "plot_equivariance_error": "plot.gequi_equivariance",
    "plot_local_equivariance_error": "plot.gequi_local_equivariance",
    "plot_group_mean": "plot.gequi_group_mean",
    "plot_gspace": "plot.gequi_gspace",
    "plot_history": "plot.gequi_history",
    "plot_inverse_function": "plot.gequi_inverse_function",
    "plot_inverted_input": "plot.gequi_inverted_input",
    "plot_network": "plot.gequi_network",
    "plot_registration": "plot.gequi_registration",
    "plot_stack": "plot.gequi_stack",
    "plot_trace": "plot.gequi_trace",
}
# Defaults that are indexes: from 0 in Python, from 1 in R.
INDEXES = {("plot_equivariance", "element"), ("plot_equivariance", "field")}
# What R may leave out, since layers are piped there.
OPTIONAL_IN_R = {("equivariant_network", "layers")}


def exports(r):
    names = r.code('getNamespaceExports("gequiR")')
    return {name for name in names if not name.startswith(".__")}  # but for tables of methods of %*%


def test_every_function_of_python_is_exported_by_r(r):
    assert set(gequi.__all__) - set(METHODS) - set(PLOTS) <= exports(r)
    for method in [*METHODS.values(), *PLOTS.values()]:
        assert r.code(f'is.function(getS3method("{method.split(".")[0]}", "{method.split(".", 1)[1]}"))')[0]


def test_every_function_of_r_is_one_of_python_or_of_r_alone(r):
    layers = {f"layer_{row['kind']}" for row in gequi.layer_kinds()}
    assert exports(r) - ONLY_IN_R - layers - set(gequi.__all__) <= {"sample_image"}


@pytest.mark.parametrize("name", gequi.__all__)
def test_every_function_is_called_in_r_by_a_parity_test(name):
    calls = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    pattern = rf"\bgequi\.{name}\(" if name in PLOTS else rf"\br\.{name}\("
    assert re.search(pattern, calls), f"no parity test calls {name}()"


@pytest.mark.parametrize("name", sorted(set(gequi.__all__) - set(METHODS) - set(PLOTS)))
def test_arguments_have_the_same_names_order_and_defaults(r, name):
    ours = inspect.signature(getattr(gequi, name)).parameters.values()
    theirs = list(r.code(f"names(formals(gequiR::{name}))") or [])
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    assert theirs == ["..." if each.kind in variadic else each.name for each in ours]
    for each in ours:
        if each.kind in variadic or (name, each.name) in OPTIONAL_IN_R:
            continue
        default = f"formals(gequiR::{name})${each.name}"
        required = r.code(f"is.symbol({default}) && !nzchar(as.character({default}))")[0]
        assert required == (each.default is inspect.Parameter.empty), each.name
        if not required:
            expected = list(each.default) if isinstance(each.default, tuple) else each.default
            expected = expected + 1 if (name, each.name) in INDEXES else expected
            expected = None if expected != expected else expected  # what is NaN in Python is NA in R
            if isinstance(expected, list) and expected and isinstance(expected[0], tuple):  # fields with their counts
                assert r.value(r.code(f"as.list(eval({default}))")) == dict(expected), each.name
                continue
            assert r.value(r.code(f"eval({default})")) == expected, each.name


@pytest.mark.parametrize("name", PLOTS)
def test_the_options_of_a_plot_have_the_same_names(r, name):
    generic, kind = PLOTS[name].split(".")
    theirs = set(r.code(f'names(formals(getS3method("{generic}", "{kind}")))')) - {"x", "..."}
    assert theirs <= set(inspect.signature(getattr(gequi, name)).parameters)


def test_the_version_and_the_requirements_are_those_of_python(r):
    project = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["project"]
    assert r.code('as.character(packageVersion("gequiR"))')[0] == gequi.__version__
    assert list(r.code("gequiR:::requirements")) == project["dependencies"]
    for extra, name in (("train", "training"), ("export", "export"), ("images", "images")):
        assert list(r.code(f"gequiR:::requirements_of_{name}")) == project["optional-dependencies"][extra]
    at_least = r.code('packageDescription("gequiR")$SystemRequirements')[0]
    assert f"Python ({project['requires-python'].replace('>=', '>= ')})" in at_least


# ---- the page "Coming from ..." -------------------------------------------------------------------------

PAGE = HERE.parents[1] / "rpkg/vignettes/articles/coming-from.Rmd"

# The names of functions in R code that neither gequiR, its imports nor base R has, and of arguments that no method takes.
UNKNOWN = r"""
faults <- character()
walk <- function(x) {
  if (!is.call(x)) return(invisible())
  name <- if (is.name(x[[1]])) as.character(x[[1]]) else ""
  methods <- grep(paste0("^", name, "[.]"), ls(asNamespace("gequiR"), all.names = TRUE), value = TRUE)
  ours <- nzchar(name) && (length(methods) > 0 || name %in% getNamespaceExports("gequiR"))
  if (grepl("^[a-z]", name) && !ours && !exists(name, parent.env(asNamespace("gequiR")))) faults <<- c(faults, name)
  if (ours) {
    known <- unlist(lapply(c(name, methods), function(each) names(formals(get(each, asNamespace("gequiR"))))))
    if (name == "gspace") known <- c(known, "N")
    faults <<- c(faults, setdiff(names(x), c("", known)))
  }
  for (part in as.list(x)[-1]) if (!missing(part)) walk(part)
}
for (expression in parse(text = code)) walk(expression)
faults
"""


def own_calls():
    """The R code in the last column of the tables, by the package of the first; `...` at the end of a pipe is left out."""
    found = {}
    for section in PAGE.read_text().split("\n## ")[1:]:
        rows = [line[1:-1].replace("|>", "\0").split("|") for line in section.splitlines() if line.startswith("| ")]
        if rows:
            spans = [span.replace("\0", "|>") for row in rows[1:] for span in re.findall("`([^`]+)`", row[1])]
            code = [re.sub(r" \|> \.\.\.$", "", span) for span in spans if not span.endswith("=")]
            found[section.splitlines()[0]] = (len(rows) - 1, code)
    return found


def test_the_calls_beside_those_of_other_packages_have_functions_and_arguments_that_exist(r):
    tables = own_calls()
    assert list(tables) == ["escnn", "torch and luz", "keras3", "ANTsR", "RNiftyReg", "EBImage"]
    for package, (rows, code) in tables.items():
        assert rows >= 8, package
        assert [(each, list(unknown)) for each in code if len(unknown := r.code(UNKNOWN, code=each))] == []
