"""Text of the drop-in, which K3s' merge reads back unchanged."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from hypothesis import example, given
from hypothesis import strategies as st

from agent.k3s.config import dropin
from agent.k3s.config_merge import ConfigText, merge_configuration

DROPINS = PurePosixPath("/etc/rancher/k3s/config.yaml.d")


def test_dropin_uses_quotes_only_if_yaml_needs_them() -> None:
    assert (
        dropin(
            "First line.\n\nSecond.\n",
            {"protect-kernel-defaults": True, "node-name": "yes"},
            {"kube-apiserver-arg": ["audit-log-maxage=30", "a=b: c #d"], "kubelet-arg": []},
        ).decode()
        == """\
# First line.
#
# Second.
protect-kernel-defaults: true
node-name: "yes"
kube-apiserver-arg+:
  - audit-log-maxage=30
  - "a=b: c #d"
"""
    )


ITEMS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
    | st.sampled_from(["yes", "0644", "~", "a: b", "- x", "a #b", "'", "1e3", "=", "<<"]),
    max_size=5,
)


@given(
    st.lists(st.tuples(st.sampled_from(["kubelet-arg", "kubelet-arg+", "tls-san", "tls-san+"]), ITEMS), max_size=4),
    st.dictionaries(st.sampled_from(["kubelet-arg", "tls-san", "node-label"]), ITEMS),
)
@example([("tls-san", ["a"])], {"tls-san": ["a:", ":", "é", "\u2028", "\U0001f600", "\x00", "\x85", "x\ny"]})
def test_dropin_appends_to_the_operators_lists(files: list[tuple[str, list[str]]], ours: dict[str, list[str]]) -> None:
    operators = [
        ConfigText(DROPINS / f"{number:02}.yaml", json.dumps({key: items}).encode())
        for number, (key, items) in enumerate(files)
        # JSON keeps U+007F and writes code points above U+FFFF as two escapes. YAML accepts neither.
        if all(character != "\x7f" and ord(character) < 0x10000 for item in items for character in item)
    ]
    alone = merge_configuration(operators)
    together = merge_configuration([*operators, ConfigText(DROPINS / "90-ours.yaml", dropin("Ours.", {}, ours))])
    assert not together.problems
    for key in ("kubelet-arg", "tls-san", "node-label"):
        expected = [value.text for value in alone.items(key)] + [item.strip() for item in ours.get(key, [])]
        assert [value.text for value in together.items(key)] == expected
    assert together.dropped == alone.dropped


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_scalars_are_read_back(text: str, switch: bool) -> None:  # noqa: FBT001 - drawn
    merged = merge_configuration(
        [ConfigText(DROPINS / "a.yaml", dropin("", {"node-name": text, "selinux": switch}, {}))]
    )
    assert [value.text for value in merged.items("node-name")] == [text.strip()]
    assert merged.boolean("selinux") is switch
