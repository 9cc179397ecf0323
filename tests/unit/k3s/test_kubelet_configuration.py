"""The kubelet's configuration files: their order."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from agent.k3s.component_configuration import KubeletSource, kubelet_sources
from agent.k3s.config_merge import ConfigText, merge_configuration
from agent.k3s.default_arguments import KUBELET_DEFAULTS_FILE
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, K3S_CONFIG_FILE, Version

OWN = DEFAULT_DATA_DIR / KUBELET_DEFAULTS_FILE
RECORDED = Path(__file__).parents[2] / "data/benchmark/00-k3s-defaults.conf"
CONFIG, CONFIG_DIR = PurePosixPath("/etc/kubelet.yaml"), PurePosixPath("/etc/kubelet.d")
BOTH_NAMED = f"kubelet-arg: ['config={CONFIG}', 'config-dir={CONFIG_DIR}']\n"


def found(config: str, minor: int) -> tuple[KubeletSource, ...]:
    return kubelet_sources(
        merge_configuration([ConfigText(K3S_CONFIG_FILE, config.encode())]), Version(1, minor, 1), DEFAULT_DATA_DIR
    )


@pytest.mark.parametrize(
    ("minor", "named"),
    [
        (29, (KubeletSource((), CONFIG, is_directory=False),)),
        (31, (KubeletSource((), CONFIG, is_directory=False), KubeletSource((), CONFIG_DIR, is_directory=True))),
        (
            32,
            (
                KubeletSource((), OWN.parent, is_directory=True),
                KubeletSource(("10-cli-config.conf",), CONFIG, is_directory=False),
                KubeletSource(("20-cli-config-dir",), CONFIG_DIR, is_directory=True),
            ),
        ),
    ],
)
def test_sources_depend_on_the_version(minor: int, named: tuple[KubeletSource, ...]) -> None:
    """The kubelet reads a directory since 1.30. Since 1.32 K3s copies the operator's files to its own directory."""
    assert found(BOTH_NAMED, minor) == named


@pytest.mark.parametrize(("minor", "count"), [(31, 0), (32, 1)])
def test_without_arguments_only_k3s_own_directory_is_read(minor: int, count: int) -> None:
    assert len(found("", minor)) == count


def test_files_in_k3s_own_directory_are_read_once() -> None:
    """K3s does not copy these files."""
    assert len(found(f"kubelet-arg: ['config={OWN}', 'config-dir={OWN.parent}']\n", 34)) == 1


@pytest.mark.parametrize("argument", ["config=kubelet.yaml", "config-dir=./kubelet.d"])
def test_a_relative_path_is_an_error(argument: str) -> None:
    with pytest.raises(ValueError, match="not absolute"):
        found(f"kubelet-arg: ['{argument}']\n", 34)


def test_config_dir_with_an_underscore_replaces_the_directory_of_k3s() -> None:
    """K3s copies only files of the argument that it recognises, and passes the other one on after its own."""
    (only,) = found("kubelet-arg: [config_dir=/etc/kubelet.d]\n", 34)
    assert only == KubeletSource((), PurePosixPath("/etc/kubelet.d"), is_directory=True)
