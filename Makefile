# Needs Python >= 3.11 (with venv), make and a C library. Everything else goes into virtual environments beside this file.
#   make fit    the fiducial model on the demo sky; make fit DATA=fermi   on the Fermi-LAT data
#   make test   lint, types and the whole test suite
#   make docs   the documentation site, tutorials executed
#   make dist   source distribution and wheel, as a release has them

PYTHON ?= python3
MODEL ?= fiducial
DATA ?= demo
OUT ?= fits/$(MODEL)-$(DATA)
CUDA ?= cuda12
# Python compiles what it imports: doing so for all of every package takes longer than the installation itself. It is to
# keep what it compiled, whatever the caller wants otherwise: a process that the tests start imports in 2 s, not in 5
export PYTHONDONTWRITEBYTECODE =
PIP_INSTALL = bin/python -m pip install -q --no-compile --disable-pip-version-check --no-input

# the first Python of a version that runs: one on the PATH may be a pyenv shim for a version that is switched off
find_python = $(shell for python in python$(1) $(HOME)/.pyenv/versions/$(1)*/bin/python$(1); do \
	$$python -c '' 2>/dev/null && echo $$python && break; done)
PYTHON_312 := $(call find_python,3.12)
SOURCES := pyproject.toml README.md LICENSE \
	$(shell find analyses distributed engine src -name '*.py' -o -name '*.toml' -o -name '*.cu' -o -name py.typed)

.PHONY: help fit lint test test-quick test-312 installed-312 test-lowest test-gpu check-gpu docs bench dist check-sdist clean
help:
	@echo "make fit | test | test-quick | test-312 | test-lowest | test-gpu | check-gpu | docs | bench | clean"
	@echo "make dist | check-sdist | check-wheel-3.11 (3.12, 3.13)"

# --- environments: `.created` is the bare environment, `.installed` the package in it, installed as its users have it
define create
@$(1) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo "gammasky needs Python >= 3.11, and '$(1)' is not one: make PYTHON=/path/to/python3.11"; exit 1; }
@$(1) -c 'import ensurepip, venv' 2>/dev/null || \
	{ echo "'$(1)' has no venv module: install it (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
@echo "creating $(@D) with $(1)"
@$(1) -m venv --clear $(@D)
@touch $@
endef

define install
@echo "installing gammasky in $(@D)"
@rm -rf build/lib build/bdist.*  # modules that are gone from the tree would otherwise be installed from there
@$(@D)/$(PIP_INSTALL) '.$(1)' $(2)
@touch $@
endef

.venv/.created .venv-test/.created .venv-gpu/.created .venv-docs/.created .venv-dist/.created:
	$(call create,$(PYTHON))
.venv-312/.created:
	$(call create,$(PYTHON_312))
.venv-lowest/.created:
	$(call create,$(call find_python,3.11))
.venv/.installed: .venv/.created $(SOURCES)
	$(call install,)
.venv-test/.installed: .venv-test/.created $(SOURCES)
	$(call install,[dev])
.venv-312/.installed: .venv-312/.created $(SOURCES)
	$(call install,[test])
.venv-gpu/.installed: .venv-gpu/.created $(SOURCES)
	$(call install,[test$(,)$(CUDA)])
, := ,
# every dependency as old as pyproject.toml allows
.venv-lowest/.installed: .venv-lowest/.created $(SOURCES)
	@sed -n '/^dependencies = /,/^]/ s/^ *"\(.*\)>=\([^"]*\)".*/\1==\2/p' pyproject.toml >$(@D)/lowest.txt
	$(call install,[test],-c $(@D)/lowest.txt)

.venv-docs/.installed: .venv-docs/.created $(SOURCES)
	$(call install,[docs])

# --- the fit
fit: .venv/.installed
	@if [ -f '$(OUT)/posterior.nc' ]; then \
		echo "$(OUT) holds a finished fit; to redo it: rm -r $(OUT) && make fit"; \
	else \
		.venv/bin/gammasky data check '$(DATA)' --quiet >/dev/null 2>&1 || .venv/bin/gammasky data fetch '$(DATA)' || exit $$?; \
		if [ -n "$$(ls -A '$(OUT)' 2>/dev/null)" ]; then resume=--resume; fi; \
		.venv/bin/gammasky fit '$(MODEL)' --data '$(DATA)' --out '$(OUT)' $$resume $(FIT_OPTIONS); \
	fi

bench: .venv/.installed
	@.venv/bin/gammasky bench likelihood

# --- tests: of the installed package (`bin/pytest`, not `python -m pytest`, which would put this folder first), in three
# processes: most of their time is compilation, on one core, and now and then one waits for processes that it started.
# On 3.12, whose JAX is newer, run quick tests that call each operation, template, guide and method, with two of their
# cases, on programs that compile fast instead of running fast. Numba is the same on both: digits of kernels, statistics
# of simulated skies and figures are not asked for twice
WORKERS ?= 3
# A process that ends (`faulthandler_timeout`) is not started again: it would begin with the test that ended it
PYTEST = bin/pytest -n $(WORKERS) --max-worker-restart=0 --dist loadfile --no-loadscope-reorder --durations=30
test: lint
	.venv-test/$(PYTEST)

lint: .venv-test/.installed
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy

test-quick: .venv-test/.installed
	.venv-test/$(PYTEST) -m 'not slow'

ifeq ($(PYTHON_312),)
test-312 installed-312:
	@echo "$@ skipped: no python3.12 found"
else
installed-312: .venv-312/.installed

test-312: .venv-312/.installed
	$(call test_thin,.venv-312)
endif

PARTS = $(addprefix kernels/,bar callbacks nptf_gradients nptf_transforms poisson profiles simulate_variates threads) \
	$(addprefix model/,end_to_end extend sky_model simulate) \
	$(addprefix infer/,checkpoint derived face guides nuts optimise posterior settings summary) infer/emulator/parts
define test_thin
JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(1)/$(PYTEST) -m 'not slow' --thin $(2) \
	$(foreach part,$(PARTS),tests/engine/$(dir $(part))test_$(notdir $(part)).py) \
	tests/engine/infer/test_dark_matter.py::test_command \
	tests/engine/test_runtime.py tests/test_cli.py tests/test_imports.py tests/test_public_names.py
endef

# the same and more on Python 3.11 with the lowest versions; packages of today warn of what those of then do
test-lowest: .venv-lowest/.installed
	$(call test_thin,.venv-lowest,-W ignore tests/test_examples.py tests/engine/sky/test_images.py \
		tests/engine/sky/test_dataset.py tests/distributed/tuning tests/distributed/test_mirror.py)

test-gpu: .venv-gpu/.installed
	GAMMASKY_REQUIRE_GPU=1 .venv-gpu/bin/pytest -m gpu -s # with the table of times

# every kernel against Numba, times of each part, whole fits: six to seven minutes, a table last
check-gpu: .venv-gpu/.installed
	.venv-gpu/bin/python benchmarks/gpu_check.py

# --- the site: warnings are errors. Notebooks whose code has not changed are not executed again
docs: .venv-docs/.installed
	.venv-docs/bin/python -m sphinx -q -W --keep-going -b html -d docs/_build/doctrees docs docs/_build/html
	@echo "docs/_build/html/index.html"

# --- a release
dist: .venv-dist/.created
	rm -rf dist build/lib build/bdist.* *.egg-info
	.venv-dist/$(PIP_INSTALL) build twine
	.venv-dist/bin/python -m build
	.venv-dist/bin/python -m twine check --strict dist/*

# tests that read files of the repository, in what was unpacked
check-sdist:
	rm -rf build/sdist && mkdir -p build/sdist && tar -xzf dist/*.tar.gz -C build/sdist --strip-components 1
	$(MAKE) -C build/sdist .venv-test/.installed
	cd build/sdist && .venv-test/$(PYTEST) -m 'not slow' tests/engine/model/test_presets.py tests/test_[d-s]*.py

# the wheel in an empty environment, as users have it: from another folder, to the end of a fit
check-wheel-%:
	@test -n "$(call find_python,$*)" || { echo "no python$* found"; exit 1; }
	$(call find_python,$*) -m venv --clear .venv-wheel
	.venv-wheel/$(PIP_INSTALL) dist/*.whl
	folder=$$(mktemp -d) && cd $$folder && PATH=$(CURDIR)/.venv-wheel/bin:$$PATH && \
		gammasky --version && gammasky --help >/dev/null && gammasky models && gammasky doctor && \
		gammasky fit calibration --data demo --method laplace --out fit --quiet && rm -r $$folder
	.venv-wheel/bin/python benchmarks/installed.py
	rm -r .venv-wheel

# --- fits are kept
clean:
	rm -rf .venv .venv-test .venv-312 .venv-lowest .venv-gpu .venv-docs .venv-dist .venv-wheel docs/_build docs/reference/generated build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
