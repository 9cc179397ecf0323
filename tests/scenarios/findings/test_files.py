"""Findings about managed files and the journal."""

from __future__ import annotations

from tests.component_files import ADMISSION
from tests.scenarios.conftest import Hardened
from tests.scenarios.findings.case import (
    OWN_PSA,
    Case,
    Edit,
    Seen,
    as_described,
    both,
    chmod,
    edited,
    nothing,
    of_version,
    written,
)
from tests.scenarios.host_tree import AUDIT, DATA_DIR, POLICY, PSA, STATE


def emptied(path: str) -> Edit:
    return lambda host: host.write(path, "", 0o600)


CASES = (
    Case("file-damaged", emptied(AUDIT), edited(AUDIT),
         Seen(AUDIT, "k3s-harden apply", expected="238 bytes", found="0 bytes"), cure=as_described),
    Case("file-edited", edited(POLICY), of_version("1.28"),
         Seen(POLICY, "")),
    Case("file-edited", written(PSA, OWN_PSA.replace("restricted", "baseline")), of_version("1.28"),
         Seen(PSA,
             f"run `k3s-harden diff`; then Is the change of {PSA} needed? No (each edited file is replaced, and a"
                 " backup is kept): run `k3s-harden apply --force`. Yes (it stays in effect by `stages.pod-security` or"
                 " `pod-security.exempt-namespaces` in the settings): move the change to `stages.pod-security` or"
                 " `pod-security.exempt-namespaces` in the settings; then run `k3s-harden apply --force`."),
         cure=lambda host, _: host.run("apply", "--force"), name="another level"),
    Case("edited-file-insufficient",
         written(AUDIT, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n"),
         edited(AUDIT),
         Seen(f"{AUDIT}:4",
             "run `k3s-harden apply --force`; restart K3s; or correct the edit at {location}; restart K3s",
             expected="a rule with the level Metadata or higher", found="no rule that logs"),
         cure=lambda host, _: host.run("apply", "--force")),
    Case("mode-loosened", chmod(f"{DATA_DIR}/server", 0o755), chmod(f"{DATA_DIR}/server", 0o500),
         Seen(f"{DATA_DIR}/server", "k3s-harden apply", expected="0700", found="0755"), cure=as_described),
    Case("left-over", of_version("1.24"), both(written(PSA, ADMISSION), of_version("1.24")),
         Seen(PSA, "", found="2044 bytes"),
         cure=as_described),
    Case("interrupted-run",
         lambda host: [path.rename(path.with_suffix(".begun")) for path in host[f"{STATE}/journal"].iterdir()],
         nothing,
         Seen(f"{STATE}/journal/000001-*.begun", "k3s-harden apply"), cure=as_described),
    Case("journal-damaged", lambda host: [path.write_text("{") for path in host[f"{STATE}/journal"].iterdir()],
         written(f"{STATE}/journal/000001-1.json.bak", "{"),
         Seen(f"{STATE}/journal/000001-*.json",
             "Does a backup have {location}? Yes (restore it): nothing to do. No (the changes of that run cannot be"
             " reverted): run `sudo mv -nT {location} {location}.moved`."),
         cure=lambda host, finding: host[finding.location].unlink()),
)  # fmt: skip


def test_a_directory_in_place_of_a_file_is_reported_without_its_mode(hardened: Hardened) -> None:
    """The item reports that the path is a directory; no finding reports its mode."""
    host = hardened()
    host[AUDIT].unlink()
    host[AUDIT].mkdir(0o755)
    seen = host.seen("check")
    assert seen.of("mode-loosened") == ()
    assert seen.items[AUDIT] == "refused"
