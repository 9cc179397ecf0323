"""The rows of the settings, and the example file."""

from __future__ import annotations

from pathlib import PurePosixPath

from agent.base import yaml_reader
from agent.harden.settings.schema import Overrides, Settings, example_settings, setting_rows

PATH = PurePosixPath("/etc/k3s-harden/config.yaml")


def test_the_example_has_every_setting() -> None:
    (document,) = yaml_reader.read_documents(example_settings().encode(), PATH)
    keys: set[str] = set()
    assert isinstance(document.node, yaml_reader.YamlMapping)
    for entry in document.node.entries:
        inner = entry.node.entries if isinstance(entry.node, yaml_reader.YamlMapping) else ()
        keys |= {entry.key, *(f"{entry.key}.{field.key}" for field in inner)}
    assert {row.key for row in setting_rows()} <= keys


def test_every_override_is_a_setting() -> None:
    """Overrides are applied by field name, and an unknown name would be ignored."""
    assert set(Overrides._fields) <= {row.name for row in setting_rows()}


def test_every_setting_has_one_complete_row() -> None:
    names = [name for name in Settings._fields if name != "from_profile"]
    assert [row.name for row in setting_rows()] == names
    keys = [row.key for row in setting_rows()]
    assert len(set(keys)) == len(keys)
    assert not any(key.startswith(f"{other}.") for key in keys for other in keys)
    assert all(row.description.endswith(".") and row.kind.allowed and row.default for row in setting_rows())
