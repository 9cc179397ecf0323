"""What a settings file means, and the sample of one."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import InputError
from agent.harden.settings.loading import load_settings
from agent.harden.settings.schema import example_settings, setting_rows
from agent.verbs.site_settings import meaning, sample
from tests.fake import fake_host

FILE = """\
profile: strict
audit: {max-age: 90}
pod-max-pids: off
waivers:
  - {control: kernel.panic, reason: The watchdog reboots them., role: agent, host: db-*}
waivers-must: off
stages: {until: 2999-03-31, pod-security: warn}
"""


def _meaning(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "site.yaml").write_text(text)
    return list(meaning(fake_host(Path("/")), PurePosixPath(tmp_path / "site.yaml")))


def test_a_file_is_its_profile_changed_settings_waivers_and_stages(tmp_path: Path) -> None:
    lines = _meaning(tmp_path, FILE)
    assert lines[0] == "profile strict"
    assert "set audit.max-age: 90 (default the guide's value)" in lines
    assert "set always-pull-images: true (by the profile strict)" in lines
    assert not [line for line in lines if "pod-max-pids" in line]
    assert lines[-3:-1] == [
        "waived kernel.panic: The watchdog reboots them.; approved by -; expires never; role agent; hosts db-*",
        "postponed stages.pod-security: warn; until 2999-03-31",
    ]
    assert lines[-1].startswith(f"result 0: {tmp_path}/site.yaml is valid; ")
    assert lines[-1].endswith(" changed settings, 1 waiver, 1 stage")


def test_an_empty_file_has_the_defaults_and_an_invalid_one_its_error(tmp_path: Path) -> None:
    assert _meaning(tmp_path, "")[-1].endswith("is valid; 0 changed settings, 0 waivers, 0 stages")
    with pytest.raises(InputError, match="unknown setting"):
        _meaning(tmp_path, "profil: strict\n")


def test_the_sample_sets_nothing_and_has_each_setting_with_its_meaning() -> None:
    """Without the # before keys it is the example, which has every setting."""
    text = sample()
    assert load_settings(text.encode(), PurePosixPath("/s")) == load_settings(None, PurePosixPath("/s"))
    assert max(map(len, text.splitlines())) <= 120
    uncommented = re.sub("(?m)^#(?! \\S)", "", text)
    lines = [line for line in uncommented.splitlines() if line and not line.startswith("# ")]
    assert lines == example_settings().splitlines()
    for row in setting_rows():
        assert " ".join(row.description.split()[:4]) in " ".join(re.sub("(?m)^# ", "", text).split())


def test_each_value_is_shown_as_the_file_has_it(tmp_path: Path) -> None:
    """No value is shown in the notation of Python."""
    examples = example_settings().splitlines(keepends=True)
    text = "".join(line for line in examples if "-file: /etc/k3s-harden/" not in line)
    lines = _meaning(tmp_path, text)
    assert "set event-rate-limit: {qps: 5000, burst: 20000} (default off)" in lines
    assert "set waivers-must: {expire-within: 366, approver: true} (default off)" in lines
    assert not [line for line in lines if re.search(r"\w\(\w+=", line)]
