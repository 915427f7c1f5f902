# `make demo`: see the parts of a person, a dog and a robot arm tracked in videos, without torch. `make test`: the quick tests, in
# minutes, on all cores; `make test-all`: all of them, as CI does.
# `make bench`: measures everything anew, twenty minutes, and writes benchmarks/RESULTS.md.
# `make docs`: the documentation as a site, in build/docs.
# `make lock`: the files of locks/ anew, after pyproject.toml or constraints.txt changed; UPGRADE=--upgrade takes newer
# versions of all that is not in constraints.txt.
PYTHON ?= python3

# A file's tests run in one process, because they share what its fixtures make; the costliest files come first.
# Each process computes with one thread: all cores are taken, and threads that wait for each other by spinning cost a
# test of training up to fifteen times its processor time. WORKERS=3 on two cores fills the waits of one with another.
WORKERS ?= auto
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
ONE_THREAD := OMP_NUM_THREADS=1

.PHONY: demo test test-all lint bench docs lock clean

# The default model is `person`.
DEMO := .venv-demo/bin/streamparts run --out-dir demo --force
demo: .venv-demo/ready
	mkdir -p demo
	$(DEMO) examples/people.mp4
	$(DEMO) examples/dog.mp4 --model dog
	$(DEMO) examples/arm.mp4 --model arm

test: .venv/ready
	$(ONE_THREAD) .venv/bin/python -m pytest -q $(PARALLEL) -m "not slow"

test-all: .venv/ready
	$(ONE_THREAD) .venv/bin/python -m pytest -q -p tests.cpu_times $(PARALLEL)

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-logo
	.venv/bin/mypy

bench: .venv/ready
	.venv/bin/python -m benchmarks.sections all
	.venv/bin/python -m benchmarks.report > benchmarks/RESULTS.md

# Strict: a warning is an error. The variable silences a notice on the future of MkDocs, which is no warning of ours.
docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet
	@echo "the documentation is in build/docs; begin with build/docs/index.html"

# torch is in no lock: the one for CPUs comes from another place, and is another file, than the one for GPUs.
LOCK := .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --annotation-style line \
	--constraint constraints.txt --excludes locks/excluded.txt $(UPGRADE)
lock: .venv-lock/ready
	$(LOCK) pyproject.toml --extra dev --output-file locks/dev.txt
	$(LOCK) pyproject.toml --extra openvino --extra messages --constraint locks/dev.txt --output-file locks/image.txt
	$(LOCK) locks/cuda.in --constraint locks/dev.txt --output-file locks/cuda.txt
	$(LOCK) locks/build.in --constraint locks/dev.txt --output-file locks/build.txt

.venv-lock/ready:
	$(PYTHON) -m venv --without-pip .venv-lock
	$(PYTHON) -m pip --python .venv-lock/bin/python install --quiet "uv>=0.9"
	touch $@

# Made anew when the dependencies change; both environments see the checkout itself. The pip that is there installs
# into them from outside: a bare Debian has no ensurepip.
.venv-demo/ready: pyproject.toml
	$(PYTHON) -m venv --without-pip .venv-demo
	$(PYTHON) -m pip --python .venv-demo/bin/python install --quiet --editable .
	touch $@

.venv/ready: pyproject.toml constraints.txt locks/dev.txt locks/build.txt
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m pip --python .venv/bin/python install --quiet --no-deps --require-hashes --requirement locks/dev.txt
	$(PYTHON) -m pip --python .venv/bin/python install --quiet --no-deps --require-hashes --requirement locks/build.txt
	$(PYTHON) -m pip --python .venv/bin/python install --quiet --no-build-isolation --editable ".[dev]" --constraint constraints.txt
	touch $@

clean:
	rm -rf .venv .venv-demo .venv-lock .venv-neighbours build demo
