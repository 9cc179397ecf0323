"""service-accounts with invalid output of kubectl."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.errors import HostError
from agent.host.process import Completed
from agent.value import replace
from agent.verbs.service_accounts import protect
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
        protect(host, kubeconfig=None, timeout=5)
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
    (item,) = protect(replace(host, run=Programs(answers)), kubeconfig=None, timeout=5).items
    assert item.detail == "still automounts its token after the patch"
