"""Rules of the packet filter, written with iptables-restore(8) into a network namespace and read back."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import HostError
from agent.base.host.node_state import filter_rules, parsed_rules
from agent.base.host.process import Completed
from agent.base.linux.file_systems import FilterRule
from tests.fake import Programs, fake_host
from tests.programs_here import ran
from tests.tree import Tree

BUNDLED = PurePosixPath("/var/lib/rancher/k3s/data/current/bin/aux")
COMMENT = "rule to jump traffic destined to POD name:web namespace: default to chain KUBE-POD-FW-A"
LISTING = f"""\
*filter
:FORWARD ACCEPT [0:0]
:KUBE-POD-FW-A - [0:0]
:KUBE-ROUTER-FORWARD - [0:0]
-A FORWARD -m comment --comment "kube-router netpol - TEMCG2JMHZYE7H7T" -j KUBE-ROUTER-FORWARD
-A FORWARD -s 10.42.0.0/16 -j ACCEPT
-A KUBE-POD-FW-A -m comment --comment "rejects" -m mark ! --mark 0x10000/0x10000 -j REJECT
-A KUBE-ROUTER-FORWARD -d 10.42.0.9/32 -m comment --comment "{COMMENT}" -j KUBE-POD-FW-A
COMMIT
"""
MARK = "-m mark ! --mark 0x10000/0x10000"
RULES = (
    FilterRule("FORWARD", "KUBE-ROUTER-FORWARD", "", "", "kube-router netpol - TEMCG2JMHZYE7H7T", ""),
    FilterRule("FORWARD", "ACCEPT", "10.42.0.0", "", "", ""),
    FilterRule("KUBE-POD-FW-A", "REJECT", "", "", "rejects", MARK),
    FilterRule("KUBE-ROUTER-FORWARD", "KUBE-POD-FW-A", "", "10.42.0.9", COMMENT, ""),
)
READ = """\
from pathlib import PurePosixPath
from agent.base.host import Host
from agent.base.host.node_state import filter_rules
print(*(repr(tuple(rule)) for rule in filter_rules(Host.real(), PurePosixPath("/nowhere"), [4])[4]), sep="\\n")
"""


def test_only_a_rule_without_conditions_is_for_all() -> None:
    assert [rule.is_for_all for rule in RULES] == [True, False, False, False]


def test_a_listing_has_chains_targets_addresses_and_comments() -> None:
    assert tuple(parsed_rules(LISTING)) == RULES


@pytest.mark.root
@pytest.mark.skipif(shutil.which("xtables-nft-multi") is None, reason="needs iptables")
@pytest.mark.parametrize("interface", ["nft", "legacy"])
def test_the_rules_of_the_kernel_are_read(interface: str) -> None:
    """Of either interface."""
    write = f"xtables-{interface}-multi iptables-restore"
    if ran("unshare", "--net", "sh", "-c", write, input="*filter\nCOMMIT\n").returncode:
        pytest.skip(f"this kernel has no {interface} tables")
    command = f"{write} && {shlex.quote(sys.executable)} -c {shlex.quote(READ)}"
    done = ran("unshare", "--net", "sh", "-c", command, input=LISTING)
    # REJECT has a default option, which the listing then shows.
    found = done.stdout.replace(" --reject-with icmp-port-unreachable", "").splitlines()
    assert found == [repr(tuple(rule)) for rule in RULES], done.stderr


def test_without_a_tool_nothing_is_claimed(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="this host has no xtables-nft-multi"):
        filter_rules(fake_host(tmp_path), BUNDLED, [4])


def test_the_tools_of_k3s_are_used_if_the_host_has_none(tmp_path: Path) -> None:
    """The older tables are read only where they are in use, because reading them would create them."""
    tree = Tree(tmp_path)
    multi = f"{BUNDLED}/xtables-nft-multi"
    tree.write(multi, mode=0o755)
    tree.write(f"{BUNDLED}/xtables-legacy-multi", mode=0o755)
    tree.write("/proc/net/ip_tables_names", "nat\n")
    tree.write("/proc/net/ip6_tables_names", "filter\n")
    programs = Programs({
        (multi, "iptables-save", "-t", "filter"): Completed(0, LISTING, ""),
        (multi, "ip6tables-save", "-t", "filter"): Completed(0, "", ""),
        (f"{BUNDLED}/xtables-legacy-multi", "ip6tables-save", "-t", "filter"): Completed(0, LISTING, ""),
    })  # fmt: skip
    assert filter_rules(fake_host(tmp_path, programs=programs), BUNDLED, [4, 6]) == {4: RULES, 6: RULES}


def test_a_missing_right_is_named(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    multi = f"{BUNDLED}/xtables-nft-multi"
    tree.write(multi, mode=0o755)
    refused = Completed(4, "", "iptables-save v1.8.9 (nf_tables): Could not fetch rule set generation id: Denied\n")
    programs = Programs({(multi, "iptables-save", "-t", "filter"): refused})
    with pytest.raises(HostError, match="needs CAP_NET_ADMIN: iptables-save v1"):
        filter_rules(fake_host(tmp_path, programs=programs), BUNDLED, [4])
