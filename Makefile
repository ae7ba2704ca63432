# `make book` and `make test` are all that a fresh machine needs; both set up .venv first.
# `make book TORCH=cpu` sets it up with PyTorch's CPU builds.
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3 python; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
TORCH ?=
BIN := .venv/bin
SMOKE := cache/smoke
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header pyproject.toml

.PHONY: book test notebooks citation crate lock lint clean help

book: .venv/installed  ## run the main job on embedded data, then build the book
	rm -rf $(SMOKE) && mkdir -p $(SMOKE)
	STN_PAPER_RESULTS=$(SMOKE) $(BIN)/papermill notebooks/table6.ipynb $(SMOKE)/table6.ipynb -p backbone resnet18 -p dataset digits -p protocol smoke
	$(BIN)/jb build book --warningiserror --keep-going

test: .venv/installed lint  ## every test, and every notebook against its stored outputs
	$(BIN)/pytest --nbval

lint: .venv/installed  ## the checks of the code: style, layers, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/ty check --quiet

notebooks: .venv/installed  ## execute the notebooks in place, as they are committed, and write the README's table
	$(BIN)/python -m stn_paper costs
	$(BIN)/python -m stn_paper results table
	$(BIN)/python -m stn_paper readme
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False notebooks/*.ipynb
	$(BIN)/python tools/picture.py

citation:  ## write the version and what CITATION.cff says into the other files that cite
	$(BIN)/python tools/citation.py

crate:  ## pack the last commit with a description of every run in it, an RO-Crate
	$(BIN)/python tools/crate.py
	mkdir -p _build && git archive --format zip --add-file ro-crate-metadata.json --output _build/ro-crate.zip HEAD

lock:  ## pin every dependency anew, for all platforms (needs uv)
	$(COMPILE) --extra dev -o requirements.lock
	$(COMPILE) --extra cluster --constraint requirements.lock -o requirements-cluster.lock
	$(BIN)/python tools/cpu_lock.py > requirements-cpu.lock

.venv/installed: requirements.lock requirements-cpu.lock pyproject.toml tools/install.sh
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 was found: install one or set PYTHON."; exit 1; }
	$(PYTHON) -m venv .venv
	PYTHON=$(BIN)/python sh tools/install.sh $(TORCH)
	touch $@

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):[^#]*##/make \1:/p' Makefile

clean:  ## delete the environment, the cache and the book
	rm -rf .venv cache book/_build
