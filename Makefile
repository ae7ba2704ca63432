# `make book` and `make test` are all that a fresh machine needs; both set up .venv first.
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
SMOKE := cache/smoke

.PHONY: book test notebooks lock lint clean

book: .venv/installed  ## run the main job on embedded data, then build the book
	rm -rf $(SMOKE) && mkdir -p $(SMOKE)
	STN_PAPER_RESULTS=$(SMOKE) $(BIN)/papermill notebooks/table6.ipynb $(SMOKE)/table6.ipynb -p backbone resnet18 -p dataset digits -p protocol smoke
	$(BIN)/jb build book --warningiserror --keep-going

test: .venv/installed lint  ## every test, and every notebook against its stored outputs
	$(BIN)/pytest --nbval

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

notebooks: .venv/installed  ## execute the notebooks in place, as they are committed, and write the README's table
	$(BIN)/python -m stn_paper costs
	$(BIN)/python -m stn_paper results table
	$(BIN)/python -m stn_paper readme
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

lock:  ## pin every dependency anew, for all platforms (needs uv)
	uv pip compile --universal --python-version 3.11 --extra dev --no-annotate --no-header pyproject.toml -o requirements.lock

.venv/installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or 3.12 was found: install one or set PYTHON."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

clean:
	rm -rf .venv cache book/_build
