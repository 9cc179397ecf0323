"""service-accounts with invalid output of kubectl."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.errors import HostError
from agent.host.process import Completed
from agent.value import replace
from agent.verbs.service_accounts import disable_default_tokens
from tests.fake import Programs, fake_host, in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.host import Host

KUBECTL = "/usr/bin/kubectl"
LIMIT = "--request-timeout=5s"
NAMESPACES = (KUBECTL, "get", "namespaces", "--output=name", LIMIT)
ACCOUNTS = (
    *(KUBECTL, "get", "serviceaccounts", "--all-namespaces"),
    *("--field-selector=metadata.name=default", "--output=json", LIMIT),
)
DEEP = 200_000
K3S = "/usr/local/bin/k3s"
KUBECONFIG = "etc/rancher/k3s/k3s.yaml"


@pytest.fixture
def host() -> Iterator[Host]:
    """A host with kubectl."""
    with in_memory() as root:
        program = root / KUBECTL.lstrip("/")
        program.parent.mkdir(parents=True)
        program.touch(0o755)
        yield fake_host(root)


@pytest.mark.parametrize(
    "output",
    [
        pytest.param("[" * DEEP, id="deep lists"),
        pytest.param('{"items": ' * DEEP, id="deep mappings"),
        pytest.param('{"items": ' + "[" * DEEP + "]" * DEEP + "}", id="a deep item"),
        *("", "{", "[]", "null", "1", '"items"', "{}", '{"items": 1}', '{"items": [1]}', '{"items": [{}]}'),
        *('{"items": null}', '{"items": [{"metadata": []}]}', '{"items": [{"metadata": {"namespace": []}}]}'),
        '{"items": [{"metadata": {"name": "default"}}]}',
    ],
)
def test_output_that_is_not_a_list_of_accounts_is_an_error(output: str, host: Host) -> None:
    """The error is one line, and no account is patched."""
    programs = Programs({NAMESPACES: Completed(0, "namespace/default\n", ""), ACCOUNTS: Completed(0, output, "")})
    host = replace(host, run=programs)
    with pytest.raises(HostError, match=r"^cannot read the output of kubectl: expected a list of ServiceAccounts$"):
        disable_default_tokens(host, kubeconfig=None, timeout=5)
    assert programs.asked == [NAMESPACES, ACCOUNTS]


@pytest.mark.parametrize("value", ["0", '"false"', "null", "[]", "{}"])
def test_only_the_value_false_counts_as_protected(value: str, host: Host) -> None:
    """The API server accepts only booleans; any other value is treated as not protected."""
    account = f'{{"items": [{{"metadata": {{"namespace": "a"}}, "automountServiceAccountToken": {value}}}]}}'
    patch = ("patch", "serviceaccount", "default", "--namespace=a", '--patch={"automountServiceAccountToken":false}')
    answers = {
        NAMESPACES: Completed(0, "namespace/a\n", ""),
        ACCOUNTS: Completed(0, account, ""),
        (KUBECTL, *patch, LIMIT): Completed(0, "", ""),
    }
    (item,) = disable_default_tokens(replace(host, run=Programs(answers)), kubeconfig=None, timeout=5).items
    assert item.detail == "still automounts its token after the patch"


@pytest.mark.parametrize("is_link", [False, True], ids=["file", "symlink of write-kubeconfig"])
def test_a_kubeconfig_that_another_user_can_change_is_not_used(host: Host, *, is_link: bool) -> None:
    """It can name a program that kubectl runs, so kubectl does not run, and --wait does not wait."""
    root = Path(host.root)
    program, kubeconfig = root / K3S.lstrip("/"), root / KUBECONFIG
    target = root / "srv/ci/kubeconfig" if is_link else kubeconfig
    for path in (program, kubeconfig, target):
        path.parent.mkdir(parents=True, exist_ok=True)
    program.touch(0o755)
    target.touch(0o600)
    if is_link:
        kubeconfig.symlink_to("/srv/ci/kubeconfig")
        target.parent.chmod(0o777)
    else:
        target.chmod(0o666)
    programs = Programs()
    with pytest.raises(HostError, match=r"^cannot use /etc/rancher/k3s/k3s.yaml, because kubectl runs programs"):
        disable_default_tokens(replace(host, run=programs), kubeconfig=None, timeout=5, wait=300)
    assert not programs.asked


def test_a_named_kubeconfig_that_another_user_can_change_is_not_used(host: Host) -> None:
    """--kubeconfig has the same rule as --config."""
    named = Path(host.root, "tmp/kubeconfig")
    named.parent.mkdir()
    named.touch()
    named.chmod(0o602)
    with pytest.raises(HostError, match=r"^cannot use /tmp/kubeconfig, .*: others can write to it") as caught:
        disable_default_tokens(replace(host, run=Programs()), kubeconfig="/tmp/kubeconfig", timeout=5)  # noqa: S108 - in the tree
    assert "--kubeconfig /var/lib/rancher/k3s/server/cred/admin.kubeconfig" in caught.value.hint
