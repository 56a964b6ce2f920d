# Each target does all the set-up it needs: see .ci/setup. The R package is in rpkg/, the Python core in python/.
SHELL := /bin/sh
export R_LIBS := $(CURDIR)/.rlib
export RETICULATE_PYTHON := $(CURDIR)/.venv/bin/python
export GEQUI_CACHE := $(CURDIR)/.cache/gequi
export GEQUI_REQUIRE_PYTHON := true
# Threads that wait for each other sleep. By default they spin: beside another program, a registration takes 16 times as long.
export OMP_WAIT_POLICY := PASSIVE
# Absolute: where R runs inside Python, reticulate compares this path with that of the executable.
PYTHON := $(CURDIR)/.venv/bin/python
BUILD := $(CURDIR)/.cache/build
# R CMD build runs the vignettes, from the installed package. R CMD check would run them again, which takes three minutes.
# Empty, as CRAN has it, before a release: make check-trixie, make check-bare.
CHECK_OPTIONS := --no-vignettes

.PHONY: demo test check check-trixie check-bare coverage bench bench-full docs site lock setup clean

## the vignette "Get started", rendered, with its table of errors
demo: setup
	@mkdir -p $(BUILD)
	@Rscript --vanilla .ci/demo.R rpkg/vignettes/get-started.Rmd $(BUILD)/get-started.html

## Python, parity of the two languages, R
# The processes of pytest share the cores: with one thread each they do not wait for each other. No test needs it.
# worksteal: neighbors stay together and share their fixtures, and at the end no core waits for the longest file.
test: setup
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -m "not slow" --numprocesses=auto --dist=worksteal
	cd rpkg/tests && Rscript --vanilla testthat.R

## the types, the style of both languages, the manual pages, and R CMD check as CRAN runs it
check: setup
	$(PYTHON) -m ruff check rpkg/inst/python tests .ci
	$(PYTHON) -m ruff format --check rpkg/inst/python tests .ci
	$(PYTHON) -m mypy
	$(PYTHON) -m codespell_lib README.md CONTRIBUTING.md rpkg tests .ci
	Rscript --vanilla .ci/check-r.R
	.ci/r-cmd-check $(BUILD) $(CHECK_OPTIONS)

## the last commit on the other Debian, with its R 4.5: tests and checks in a bare root in .cache/trixie
check-trixie:
	.ci/in-bare-root trixie make test check CHECK_OPTIONS=

## the last commit without Python: what CRAN's machines may see
check-bare: setup
	env -u RETICULATE_PYTHON -u GEQUI_REQUIRE_PYTHON WORKON_HOME=$(BUILD)/none .ci/r-cmd-check $(BUILD)/bare

## the share of lines that the tests run, of the core and of R: installs pytest-cov and covr
coverage: setup
	.ci/coverage

## one table of speed and memory beside others, with its targets; written to .cache/benchmarks.json
bench: setup
	$(PYTHON) tests/benchmarks/table.py

## the tests that take long, the table with more sizes, and the programs that compare results with other packages
bench-full: setup
	$(PYTHON) -m pytest -q -m slow || [ $$? -eq 5 ]  # 5: there are none
	$(PYTHON) tests/benchmarks/table.py --full
	for benchmark in convolutions equivariance extrapolation group_attention inversion networks registration \
	  registration_claims registration_robustness training volumes; do \
	  $(PYTHON) tests/benchmarks/$$benchmark.py || exit 1; done

## manual pages and NAMESPACE from the comments in rpkg/R; the pictures of the README and their figures
docs: setup
	Rscript --vanilla -e 'roxygen2::roxygenise("rpkg")'
	Rscript --vanilla .ci/figures.R

## the documentation of R and Python as a site in .cache/site, its links and pictures checked
site: setup
	.ci/site

## the versions in python/requirements.lock, resolved anew
lock: setup
	$(PYTHON) -m pip install -q uv
	.venv/bin/uv pip compile -q pyproject.toml --all-extras --override rpkg/inst/python/overrides.txt -c python/constraints.txt \
	  $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS)) --no-emit-find-links --no-emit-index-url --no-annotate \
	  --custom-compile-command "make lock" -o .cache/lock
	sed 's/+cpu$$//' .cache/lock > python/requirements.lock

setup:
	@.ci/setup

clean:
	rm -rf .cache .rlib .venv
