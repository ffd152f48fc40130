# The verbs of this project; `make` alone lists them. Each installs what it needs first (scripts/setup.sh) and says so.

# Called from elsewhere (make -f /some where/Makefile): start again in the folder of this file.
here := $(shell cd "$$(dirname "$$(echo '$(MAKEFILE_LIST)' | sed 's/^ *//')")" && pwd -P)
ifneq ($(here),$(CURDIR))

%:
	@$(MAKE) --no-print-directory -C "$(here)" $@
.DEFAULT_GOAL := help
help:
	@$(MAKE) --no-print-directory -C "$(here)" help

else

.DEFAULT_GOAL := help
.NOTPARALLEL:
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: demo
demo: ## the tour: a real Debian image, layer by layer, on this machine
	@scripts/setup.sh demo
	@lamina demo $(ARGS)

.PHONY: test
test: ready ## everything that can be proved here; as root, for most of it mounts filesystems
	@failed=; \
	for step in lint conformance; do $(MAKE) --no-print-directory $$step || failed="$$failed $$step"; done; \
	pytest -n auto --dist loadgroup || failed="$$failed tests"; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

.PHONY: quick
quick: ready ## the tests to run while working: no slow ones, stops at the first failure
	@pytest -x -q -n 2 -m "not slow"

.PHONY: conformance
conformance: ready ## grade the built-in drivers
	@if [ "$$(id -u)" != 0 ]; then echo "left out: conformance, since mounting needs root; try: sudo make conformance"; exit 0; fi; \
	failed=0; \
	for driver in $(or $(DRIVER),overlay vfs btrfs aufs); do \
		on=; [ "$$driver" != btrfs ] || on=scripts/on-btrfs.sh; \
		$$on pytest --pyargs lamina.conformance --lamina-driver "$$driver" -n auto || failed=1; \
	done; \
	exit $$failed

.PHONY: lint
lint: ready type ## style, format, types, and the order of the rooms
	@ruff check
	@ruff format --check
	@lint-imports

.PHONY: type
type: ready ## types alone
	@mypy

.PHONY: fix
fix: ready ## mend style and format
	@ruff check --fix
	@ruff format

.PHONY: docs
docs: ready ## write the command reference and the tutorial's output anew; check links and examples
	@python scripts/reference.py >docs/cli.md.new && mv docs/cli.md.new docs/cli.md
	@if [ "$$(id -u)" = 0 ]; then python scripts/tutorial.py; else echo "left out: the tutorial, since mounting needs root"; fi
	@pytest -q tests/docs

.PHONY: clean
clean: ## forget what was built here; the cache of test images stays in ~/.cache/lamina
	@rm -rf .venv .tox .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	@find core drivers contrib tests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: ready
ready:
	@scripts/setup.sh test

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

endif
