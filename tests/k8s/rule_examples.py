"""Arguments that meet a row of rules.tsv, and arguments that do not, generated from its relation and operand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.base.model import Location
from agent.k3s.components.effective_arguments import (
    FEATURE_GATES,
    EffectiveArgument,
    EffectiveArguments,
    Given,
    GivenBy,
)
from agent.k3s.components.files.decoding import kind_of_value
from agent.k3s.components.prediction import rejected_arguments
from agent.k3s.components.relations import holds, is_gate, name_in, number_of
from agent.k3s.components.rules import ParsedArguments, ValueRule, default_values, rejected_by_rule, rules_about
from agent.k3s.components.tables import syntax
from agent.k3s.components.values import combined, parse
from agent.k3s.roles_and_versions import Component

Settings = dict[str, str]
"""Values by argument, by field of the kubelet's file (as YAML), or by feature gate."""

PASSED = {"leader-elect": "true", "cluster-cidr": "10.42.0.0/16"}
"""What the components of these tests get besides the defaults in the table, which have kine or etcd without TLS."""
REPEATED = "\n"
"""Between the values of an argument that is given several times."""
KUBECONFIG = "/var/lib/rancher/k3s/server/cred/admin.kubeconfig"
CERTIFICATE = "/var/lib/rancher/k3s/server/tls/client-ca.crt"

VALUES: Mapping[str, str] = {
    "service-account-key-file": "/var/lib/rancher/k3s/server/tls/service.key",
    "audit-log-path": "/var/log/own.log",
    "audit-webhook-config-file": KUBECONFIG,
    "authentication-token-webhook-config-file": KUBECONFIG,
    "authorization-policy-file": "/etc/own-policy.jsonl",
    "authorization-webhook-config-file": KUBECONFIG,
    "emulated-version": "1.36",
    "oidc-ca-file": CERTIFICATE,
    "oidc-required-claim": "a=b",
    "oidc-signing-algs": "RS256",
    "oidc-issuer-url": "https://issuer.example",
    "imagePullCredentialsVerificationPolicy": "NeverVerify",
    "node-cidr-mask-size": "24",
    "node-cidr-mask-size-ipv4": "24",
    "reserved-memory": "0:memory=100Mi",
    "vmodule": "a=1",
    "feature-gates": "NodeSwap=true",
    "preloadedImagesVerificationAllowlist": "[a.com/*]",
    "requestheader-uid-headers": "X-Remote-Uid",
    "reserved-cpus": "0",
    "shutdownGracePeriodByPodPriority": "[{priority: 0}]",
    "cpu-manager-policy-options": "full-pcpus-only=true",
}
"""Values of arguments that must be special ones; the others are made from the kind of value."""
BY_KIND = {"bool": "true", "duration": "10s", "ip": "10.99.0.1", "float": "0.5", "quantity": "1Mi"}
OTHER_ITEMS = {"enforce-node-allocatable": "pods", "nodeport-addresses": "10.0.0.0/8"}
"""An item besides the one that must be alone."""
NOT_INCLUDED = {"tls-cipher-suites": "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "requestheader-uid-headers": "X-Own"}
"""A valid list without the items that it must include."""


class Example(NamedTuple):
    """A row of the table for one of its arguments, with what meets it and what does not."""

    component: Component
    rule: ValueRule
    subject: str
    meets: Settings | None
    """None if the defaults meet it, or if another row rejects these settings."""
    breaks: Settings

    def __str__(self) -> str:
        return f"{self.component}-{self.subject}-{self.rule.relation}"


@cache
def examples(minor: int) -> tuple[Example, ...]:
    return tuple(found for component in Component for found in _examples(component, minor))


def _examples(component: Component, minor: int) -> Iterator[Example]:
    for rule in rules_about(component):
        for subject in rule.arguments.split():
            if minor in rule.minors and kind_of_value(component, name_in(subject), minor):
                make = _Maker(component, minor)
                before = make.all_terms(rule.when, wanted=True)
                meets, breaks = _MAKERS[rule.relation](make, rule.operand, subject)
                complete = make.completed({**before, **(meets or {})})
                is_tried = meets is not None and is_accepted(component, complete, minor)
                yield Example(
                    component, rule, subject, complete if is_tried else None, {**make.completed(before), **breaks}
                )


def is_field(name: str) -> bool:
    """Return whether a name is that of a field of the kubelet's file."""
    return (not name.islower() or "." in name) and not is_gate(name)


def parsed(component: Component, settings: Settings, minor: int) -> ParsedArguments:
    given, values = {}, {}
    for name, argument in effective(component, settings).found.items():
        kind = kind_of_value(component, name, minor) or "string"
        given[name] = argument.given
        values[name] = combined(kind, [parse(kind, item.value) for item in argument.given])
    gates = {name: text == "true" for name, text in settings.items() if is_gate(name)}
    return ParsedArguments(component, minor, given, values, gates, {**default_values(component), **PASSED})


def effective(component: Component, settings: Settings) -> EffectiveArguments:
    """Return settings as if the operator had written them."""
    at = Location(PurePosixPath("/etc/rancher/k3s/config.yaml"))
    texts = {name: text for name, text in settings.items() if not is_gate(name)}
    if gates := feature_gates(settings):
        texts[FEATURE_GATES] = gates
    found = {}
    for name, text in texts.items():
        by, path = (GivenBy.KUBELET_FILE, name) if is_field(name) else (GivenBy.OPERATOR, "")
        items = [text.strip("[]")] if path else text.split(REPEATED)
        given = tuple(Given(item, by, at, field=path) for item in items)
        found[name] = EffectiveArgument(name, text, given)
    found.update(
        {
            name: EffectiveArgument(name, text, (Given(text, GivenBy.K3S),))
            for name, text in PASSED.items()
            if name not in found
        }
    )
    return EffectiveArguments(component, found, {})


def feature_gates(settings: Settings) -> str:
    return ",".join(f"{name}={value}" for name, value in settings.items() if is_gate(name))


def is_accepted(component: Component, settings: Settings, minor: int) -> bool:
    return not any(True for _ in rejected_arguments(effective(component, settings), minor))


class _Maker:
    """Makes settings for a component of a minor version."""

    def __init__(self, component: Component, minor: int) -> None:
        self.component = component
        self.minor = minor
        self._nothing = parsed(component, {}, minor)

    def kind(self, name: str) -> str:
        return kind_of_value(self.component, name, self.minor) or ""

    def value(self, name: str) -> str:
        """Return a valid value that is not empty."""
        kind = self.kind(name)
        return VALUES.get(name) or BY_KIND.get(kind) or ("1" if kind.startswith(("int", "uint")) else "own")

    def all_terms(self, terms: str, *, wanted: bool) -> Settings:
        found: Settings = {}
        for term in terms.split():
            found.update(self.term(term, wanted=wanted))
        return found

    def term(self, term: str, *, wanted: bool) -> Settings:
        """Return settings with which a term holds, or does not; empty if it does so by default."""
        if holds(term, self._nothing) is wanted:
            return {}
        if term.startswith("!"):
            return self.term(term[1:], wanted=not wanted)
        name, has_words, words = term.partition("=")
        if is_gate(term):
            return {name: str(wanted).lower()}
        if self.kind(name) == "bool" and not has_words:
            return {name: str(wanted).lower()}
        if not wanted:
            return {name: ""}
        word = words.split("|")[0] if words != "*" else self.value(name)
        suffix = "=1" if self.kind(name).startswith("map") else ""
        return {name: f"{word}{suffix}" if has_words else self.value(name)}

    def is_accepted(self, settings: Settings) -> bool:
        return is_accepted(self.component, self.completed(settings), self.minor)

    def completed(self, settings: Settings) -> Settings:
        for rule in rules_about(self.component) * 2:
            if rule.relation.startswith("requires") and self.minor in rule.minors:
                arguments = parsed(self.component, settings, self.minor)
                if any(True for _ in rejected_by_rule(rule, arguments)):
                    terms = rule.operand.split(" ", 1)[0] if rule.relation == "requires any" else rule.operand
                    settings = {**self.all_terms(terms, wanted=True), **settings}
        return settings

    def separator(self, name: str) -> str:
        """Return what separates the items of a list."""
        return REPEATED if self.kind(name) == "stringArray" else ","

    def step(self, name: str) -> float:
        """Return the difference between two numbers of an argument: a second, one, or less."""
        kind = self.kind(name)
        return 10**9 if kind == "duration" else 0.5 if kind.startswith("float") else 1

    def first(self, name: str, *numbers: float) -> Settings:
        """Return the first number that no other row rejects; otherwise the first."""
        settings = [{name: self.number(name, number)} for number in numbers]
        return next(filter(self.is_accepted, settings), settings[0])

    def number(self, name: str, bound: float) -> str:
        """Return a number as a value of an argument."""
        if self.kind(name) == "duration":
            return f"{int(bound)}ns"
        return f"{bound:g}" if self.kind(name).startswith("float") else str(int(bound))


_Made = tuple["Settings | None", Settings]


def _one_of(_: _Maker, words: str, subject: str) -> _Made:
    first = words.split(maxsplit=1)[0]
    return {subject: first}, {subject: "99" if first.isdecimal() else "none-such"}


def _matches(_: _Maker, name: str, subject: str) -> _Made:
    valid, invalid = syntax(name).valid, syntax(name).invalid
    return {subject: valid}, {subject: invalid}


def _at_least(make: _Maker, low: str, subject: str) -> _Made:
    step = make.step(subject)
    return make.first(subject, number_of(low), number_of(low) + step), {
        subject: make.number(subject, number_of(low) - step)
    }


def _at_least_or_0(make: _Maker, low: str, subject: str) -> _Made:
    return make.first(subject, number_of(low)), {subject: make.number(subject, number_of(low) / 2)}


def _more_than(make: _Maker, low: str, subject: str) -> _Made:
    above = number_of(low) + make.step(subject)
    return make.first(subject, above), {subject: make.number(subject, number_of(low))}


def _between(make: _Maker, bounds: str, subject: str) -> _Made:
    low, high = map(number_of, bounds.split())
    return make.first(subject, low, high), {subject: make.number(subject, high + make.step(subject))}


def _not_empty(_: _Maker, __: str, subject: str) -> _Made:
    return None, {subject: ""}


def _no_empty_item(make: _Maker, _: str, subject: str) -> _Made:
    return None, {subject: f"{make.value(subject)}{make.separator(subject)}"}


def _unique(make: _Maker, _: str, subject: str) -> _Made:
    words = [rule.operand for rule in rules_about(make.component) if rule[:2] == (subject, "one of")]
    item = words[0].split()[-1] if words else "own"
    return {subject: item}, {subject: f"{item}{make.separator(subject)}{item}"}


def _alone(_: _Maker, word: str, subject: str) -> _Made:
    return {subject: word}, {subject: f"{word},{OTHER_ITEMS[subject]}"}


def _includes(_: _Maker, words: str, subject: str) -> _Made:
    return {subject: words.split(maxsplit=1)[0]}, {subject: NOT_INCLUDED[subject]}


def _above(make: _Maker, operand: str, subject: str) -> _Made:
    other, unit = operand.partition(" ")[0], make.step(subject)
    # The defaults meet it.
    return None, {subject: make.number(subject, 20 * unit), other: make.number(other, 40 * unit)}


def _requires(make: _Maker, terms: str, subject: str) -> _Made:
    before = make.term(subject, wanted=True)
    *others, last = (term for term in terms.split() if name_in(term) != name_in(subject))
    breaks = {**make.all_terms(" ".join(others), wanted=True), **make.term(last, wanted=False)}
    return {**make.all_terms(terms, wanted=True), **before}, {**breaks, **before}


def _requires_any(make: _Maker, terms: str, subject: str) -> _Made:
    before, enough = make.term(subject, wanted=True), make.term(terms.split(maxsplit=1)[0], wanted=True)
    return {**enough, **before}, {**make.all_terms(terms, wanted=False), **before}


def _excludes(make: _Maker, terms: str, subject: str) -> _Made:
    other = terms.split(maxsplit=1)[0]
    before, both = make.term(subject, wanted=True), make.term(other, wanted=True)
    meets = None if not both else before
    if name_in(subject) == name_in(other):
        both = {name_in(subject): ",".join(term.partition("=")[2] for term in (subject, other))}
    return meets, {**before, **both}


def _forbidden(make: _Maker, _: str, subject: str) -> _Made:
    return None, make.term(subject, wanted=True)


_MAKERS: Mapping[str, Callable[[_Maker, str, str], _Made]] = {
    "above": _above,
    "alone": _alone,
    "at least": _at_least,
    "at least or 0": _at_least_or_0,
    "between": _between,
    "between or 0": _between,
    "excludes": _excludes,
    "forbidden": _forbidden,
    "includes": _includes,
    "matches": _matches,
    "more than": _more_than,
    "not below": _above,
    "no empty item": _no_empty_item,
    "not empty": _not_empty,
    "one of": _one_of,
    "one of or empty": _one_of,
    "requires": _requires,
    "requires any": _requires_any,
    "unique": _unique,
}
"""By the name of a relation, a function of its operand and a subject."""
