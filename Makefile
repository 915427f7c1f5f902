# `make demo`: see parts tracked in a video, without torch. `make test`: everything that CI checks.
# `make bench`: measures everything anew, twenty minutes, and writes benchmarks/RESULTS.md and the README's table.
# `make docs`: the documentation as a site, in build/docs.
PYTHON ?= python3
CLIP := examples/people.mp4

.PHONY: demo test lint bench docs clean

demo: .venv-demo/ready
	.venv-demo/bin/streamparts run $(CLIP) --overlay overlay.mp4 --tracks tracks.jsonl --force

test: .venv/ready
	.venv/bin/python -m pytest -q

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-logo
	.venv/bin/mypy

bench: .venv/ready
	.venv/bin/python -m benchmarks.report

# Strict: a warning is an error. The variable silences a notice on the future of MkDocs, which is no warning of ours.
docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet
	@echo "the documentation is in build/docs; begin with build/docs/index.html"

# Made anew when the dependencies change; both environments see the checkout itself. The pip that is there installs
# into them from outside: a bare Debian has no ensurepip.
.venv-demo/ready: pyproject.toml
	$(PYTHON) -m venv --without-pip .venv-demo
	$(PYTHON) -m pip --python .venv-demo/bin/python install --quiet --editable .
	touch $@

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m pip --python .venv/bin/python install --quiet --editable ".[dev]" --constraint constraints.txt
	touch $@

clean:
	rm -rf .venv .venv-demo .venv-neighbours build overlay.mp4 tracks.jsonl
