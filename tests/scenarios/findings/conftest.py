"""pytest shows the values of a failed assertion of the shared module too."""

import pytest

pytest.register_assert_rewrite("tests.scenarios.findings.case")
