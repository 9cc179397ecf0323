"""The files of the repository: the URL of releases, the workflow, and the systems that tests run on."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
import yaml

from agent import __releases__, __version__
from agent.verbs.render.first_boot import published_file
from tests.programs_here import ran
from tests.tools.dist.tools import CHECKOUT
from tests.tools.docs_platforms import CHANGE, RELEASE, rows
from tests.tools.generate_docs import releases_url, with_releases
from tests.vm.suite import DEFAULT, SUITES


def test_the_program_has_the_url_of_the_projects_releases() -> None:
    assert __releases__ == releases_url((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


def test_one_url_is_enough_to_publish_releases() -> None:
    url = "https://files.example.com/k3s-harden/releases"
    assert releases_url(f'[project]\nname = "x"\n\n[project.urls]\nReleases = "{url}"\n\n[tool]\n') == url
    for readme in ("README.md", "README.zh.md"):
        assert url in with_releases(readme, url)
    name = f"k3s-harden-{__version__}.pyz"
    assert published_file(url) == f"{url}/download/v{__version__}/{name}"
    assert published_file("") is None


def test_a_workflow_runs_what_a_developer_runs() -> None:
    text = (CHECKOUT / ".github/workflows/test.yml").read_text(encoding="utf-8")
    steps = {name: job["steps"] for name, job in yaml.safe_load(text)["jobs"].items()}
    assert steps["test"][-1]["run"] == ".ci/run"
    assert [step["run"].split('"')[0] for step in steps["release"][-2:]] == ["make release KEY=", "gh release create "]
    assert set(re.findall(r"uses: \S+?@(\S+)", text)) == set(re.findall(r"@([0-9a-f]{40}) # v", text))


def test_the_page_of_systems_has_only_tests_that_run() -> None:
    ci, makefile = ((CHECKOUT / name).read_text(encoding="utf-8") for name in (".ci/run", "Makefile"))
    recipe = makefile.partition("\nrelease-test:")[2].partition("\n\n")[0]
    (suites,) = re.findall(r"for suite in ([\w ]+);", recipe)
    assert suites.split() == list(SUITES)
    assert f"\nSUITE := {DEFAULT}\n" in makefile
    loop, emulation = "make vm-test SUITE=$$suite GUESTS=all", "make vm-test ARCH=aarch64 SUITE=bookworm"
    recipe = recipe.replace("$(MAKE) --no-print-directory", "make")
    assert (loop in recipe, emulation in recipe) == (True, True)
    released = {emulation, *(loop.replace("$$suite", name) for name in SUITES)}
    commands = {CHANGE: set(ci.splitlines()), RELEASE: released}
    assert [row for row in rows() if row.runner and row.command not in commands[row.runner]] == []


@pytest.mark.parametrize(
    "test",
    [
        "tests/k8s/test_ignition.py::test_ignition_writes_the_files_and_verifies_the_extension",
        "tests/vm/test_bundle.py::test_the_gate_of_ignition_is_not_lost_with_another_usr",
    ],
)
def test_what_another_target_runs_is_not_listed_as_lacking_something(test: str, tmp_path: Path) -> None:
    """Even if the test has a condition of its own: CI runs each listed test again, where it must not be skipped."""
    listed = tmp_path / "skipped"
    environment = {**os.environ, "SKIPPED": str(listed)}
    environment.pop("PYTEST_ADDOPTS", None)
    options = ("-p", "no:cacheprovider", "--numprocesses=0")
    done = ran(sys.executable, "-m", "pytest", *options, test, cwd=CHECKOUT, env=environment)
    assert (done.returncode, listed.read_text(encoding="utf-8")) == (0, ""), done.stdout
    assert "1 not run:" in done.stdout
