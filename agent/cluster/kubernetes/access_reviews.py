"""SubjectAccessReviews: which account may do what, as the API server itself answers. Pure."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from agent.cluster.kubernetes.objects import Subject

_AUTHENTICATED, _ACCOUNTS = "system:authenticated", "system:serviceaccounts"
_UNBOUND = "k3s-harden-unbound"


class ReviewedAccount(NamedTuple):
    """An account with its groups: the API server does not add any to those of a review."""

    user: str
    groups: tuple[str, ...]

    def __str__(self) -> str:
        return f"user {self.user} with {', '.join(self.groups)}" if self.user else f"group {', '.join(self.groups)}"

    def includes(self, subject: Subject) -> bool:
        """Return whether a binding of the subject is one of this account."""
        if subject.kind == "Group":
            return subject.name in self.groups
        is_account = subject.kind == "ServiceAccount"
        return self.user == (_user(subject.namespace, subject.name) if is_account else subject.name)


class AccessReview(NamedTuple):
    """A question: may this account do that? Without a namespace it is about all of them."""

    account: ReviewedAccount
    verb: str
    group: str
    resource: str
    """With its subresource, such as nodes/proxy."""
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{f' {self.name}' if self.name else ''}{where}"

    @property
    def command(self) -> str:
        """The command that asks the same; it ends with 1 if the answer is no."""
        resource, _, subresource = self.resource.partition("/")
        about = f"{resource}{f'.{self.group}' if self.group else ''}{f'/{self.name}' if self.name else ''}"
        words = [self.verb, about, f"--as={self.account.user or _UNBOUND}"]
        words += [f"--as-group={group}" for group in self.account.groups]
        words += [f"--subresource={subresource}"] if subresource else []
        words += [f"--namespace={self.namespace}" if self.namespace else "--all-namespaces"]
        return f"sudo k3s kubectl auth can-i {' '.join(map(quote, words))}"

    @property
    def body(self) -> dict[str, Any]:
        """The object to create."""
        resource, _, subresource = self.resource.partition("/")
        attributes = {
            "verb": self.verb,
            "group": self.group,
            "resource": resource,
            "subresource": subresource,
            "namespace": self.namespace,
            "name": self.name,
        }
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": self.account.user, "groups": self.account.groups, "resourceAttributes": attributes},
        }


def _user(namespace: str, name: str) -> str:
    return f"system:serviceaccount:{namespace}:{name}"


def account_of(subject: Subject) -> ReviewedAccount:
    """Return an account that has no rights but those of this subject of a binding and of its groups."""
    if subject.kind == "ServiceAccount":
        groups = (_ACCOUNTS, f"{_ACCOUNTS}:{subject.namespace}", _AUTHENTICATED)
        return ReviewedAccount(_user(subject.namespace, subject.name), groups)
    if subject.kind == "User":
        is_anonymous = subject.name == ANONYMOUS.user
        return ANONYMOUS if is_anonymous else ReviewedAccount(subject.name, (_AUTHENTICATED,))
    return next((known for known in EVERYBODY if known.groups[0] == subject.name), ReviewedAccount("", (subject.name,)))


ANONYMOUS = ReviewedAccount("system:anonymous", ("system:unauthenticated",))
EVERYBODY = (
    ReviewedAccount(_UNBOUND, (_AUTHENTICATED,)),
    ReviewedAccount(f"system:serviceaccount:default:{_UNBOUND}", (_ACCOUNTS, f"{_ACCOUNTS}:default", _AUTHENTICATED)),
    ANONYMOUS,
)
"""Accounts to which no binding can be meant: what one of them may do, each user, each pod or everybody may do."""
ALL_OF_THEM = ReviewedAccount(ANONYMOUS.user, tuple(dict.fromkeys(group for one in EVERYBODY for group in one.groups)))
"""Where only roles decide, it may do what one of EVERYBODY may: roles only add rights."""
