"""OSCAL documents, read by compliance-trestle, which takes 40 packages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agent.reports.assessments import assessment_text
from agent.reports.formats import Format
from tests.programs_here import ran
from tests.tools.bench.work import python_with
from tests.unit.reports.assessments.samples import CALM, FULL, NOTHING

pytestmark = [
    pytest.mark.release,
    pytest.mark.skipif(sys.version_info < (3, 11), reason="compliance-trestle is pinned for Python 3.11"),
]

_READ = """
import sys
from pathlib import Path
from trestle.oscal import OSCAL_VERSION
from trestle.oscal.assessment_results import AssessmentResults
from trestle.oscal.poam import PlanOfActionAndMilestones

for file in map(Path, sys.argv[1:]):
    model = AssessmentResults if "results" in file.name else PlanOfActionAndMilestones
    found = model.oscal_read(file)
    assert repr(OSCAL_VERSION) in repr(found.metadata.oscal_version), found.metadata.oscal_version
    print(file.name)
"""


def test_trestle_reads_each_document_of_its_version_of_oscal(tmp_path: Path) -> None:
    python = python_with("trestle", "--require-hashes", "--requirement", "tests/requirements-trestle.txt")
    files = []
    for number, assessment in enumerate((FULL, CALM, NOTHING)):
        for name, output_format in (("results", Format.OSCAL), ("plan", Format.OSCAL_POAM)):
            files.append(tmp_path / f"{name}-{number}.json")
            files[-1].write_text(assessment_text(assessment, output_format))
    done = ran(python, "-c", _READ, *files)
    assert done.stdout.split() == [file.name for file in files], done.stderr
