# `make demo`: see parts tracked in a video, without torch. `make test`: everything that CI checks.
# `make bench`: measures everything anew, twenty minutes, and writes benchmarks/RESULTS.md and the README's table.
PYTHON ?= python3
CLIP := examples/puppet.mp4

.PHONY: demo test lint bench clean

demo: .venv-demo/ready
	.venv-demo/bin/streamparts run $(CLIP) --overlay overlay.mp4 --tracks tracks.jsonl --force

test: .venv/ready
	.venv/bin/python -m pytest -q

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: .venv/ready
	.venv/bin/python -m benchmarks.report

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
	rm -rf .venv .venv-demo overlay.mp4 tracks.jsonl
