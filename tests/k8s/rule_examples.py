"""Arguments that meet a row of rules.tsv, and arguments that do not, generated from its relation and operand."""

from __future__ import annotations

from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.k3s.components import tables
from agent.k3s.components.files.field_table import fields_of
from agent.k3s.components.gates import FEATURE_GATES
from agent.k3s.components.prediction import Context, rejected_arguments
from agent.k3s.components.rejection import ComponentArguments, ParsedArgument
from agent.k3s.components.relations import (
    Alone,
    Between,
    Exceeds,
    Excludes,
    Forbidden,
    Includes,
    Matches,
    NotEmpty,
    OneOf,
    Relation,
    Requires,
    Unique,
    holds,
    is_gate,
    name_in,
)
from agent.k3s.components.rule import unmet_rules
from agent.k3s.components.rules import default_values, rules_about
from agent.k3s.components.values import InvalidValueError, combined, duration, parse
from agent.k3s.config import ConfigValue
from agent.model import Component, Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agent.k3s.components.rule import Rule

Settings = dict[str, str]
"""Values by argument, by field of the kubelet's file (as YAML), or by feature gate."""

PASSED = {"leader-elect": "true", "cluster-cidr": "10.42.0.0/16"}
"""What the components of these tests get besides the defaults in the table, which have kine or etcd without TLS."""
REPEATED = "\n"
"""Between the values of an argument that is given several times."""
KUBELET_KIND = "KubeletConfiguration"
KUBECONFIG = "/var/lib/rancher/k3s/server/cred/admin.kubeconfig"
CERTIFICATE = "/var/lib/rancher/k3s/server/tls/client-ca.crt"

VALUES: Mapping[str, str] = {
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
    rule: Rule
    subject: str
    meets: Settings | None
    """None if the defaults meet it, or if another row rejects these settings."""
    breaks: Settings

    def __str__(self) -> str:
        return f"{self.component}-{self.subject}-{type(self.rule.relation).__name__}"


@cache
def examples(minor: int) -> tuple[Example, ...]:
    """Return an example of each argument of each row for a minor version."""
    return tuple(found for component in Component for found in _examples(component, minor))


def _examples(component: Component, minor: int) -> Iterator[Example]:
    for rule in rules_about(component):
        for subject in rule.arguments.split():
            if rule.since <= minor <= rule.until and kind_of_value(component, name_in(subject), minor):
                make = _Maker(component, minor)
                before = make.all_terms(rule.when, wanted=True)
                meets, breaks = _MAKERS[type(rule.relation)](make, rule.relation, subject)
                complete = make.completed({**before, **(meets or {})})
                is_tried = meets is not None and is_accepted(component, complete, minor)
                yield Example(component, rule, subject, complete if is_tried else None, {**before, **breaks})


@cache
def kind_of_value(component: Component, name: str, minor: int) -> str:
    """Return the kind of value of an argument or a field of the kubelet; empty if the component does not have it."""
    fields = fields_of(KUBELET_KIND, minor) if component is Component.KUBELET else {}
    of_field = fields[name].type_name if name in fields else ""
    is_list = any(path.startswith(f"{name}[].") for path in fields)
    return tables.kind_of(component, name, minor) or ("[object]" if is_list else of_field.partition("(")[0])


def is_field(name: str) -> bool:
    """Return whether a name is that of a field of the kubelet's file."""
    return (not name.islower() or "." in name) and not is_gate(name)


def parsed(component: Component, settings: Settings, minor: int) -> ComponentArguments:
    """Return settings as the effective arguments of a component."""
    location = Location(PurePosixPath("/etc/rancher/k3s/config.yaml"))
    found = {}
    for name, text in settings.items():
        kind = kind_of_value(component, name, minor)
        if not is_gate(name):
            texts = text.split(REPEATED)
            values = [
                tuple(item.strip("[]").split(",")) if kind.startswith("[") else parse(kind, item) for item in texts
            ]
            found[name] = ParsedArgument(kind, combined(kind, values), [ConfigValue(item, location) for item in texts])
    gates = {name: text == "true" for name, text in settings.items() if is_gate(name)}
    if gates:
        text = feature_gates(settings)
        found[FEATURE_GATES] = ParsedArgument("string", text, (ConfigValue(text, location),))
    return ComponentArguments(component, minor, found, gates, {**default_values(component), **PASSED})


def feature_gates(settings: Settings) -> str:
    """Return the value of feature-gates of settings."""
    return ",".join(f"{name}={value}" for name, value in settings.items() if is_gate(name))


def is_accepted(component: Component, settings: Settings, minor: int) -> bool:
    """Return whether no exit of the component is predicted."""
    try:
        arguments = parsed(component, settings, minor)
    except InvalidValueError:
        return False
    given = {name: value.given for name, value in arguments.given.items() if not is_field(name)}
    fields = {name: value for name, value in arguments.given.items() if is_field(name)}
    context = Context(PASSED, fields)
    return not any(True for _ in rejected_arguments(component, given, minor, context))


class _Maker:
    """Makes settings for a component of a minor version."""

    def __init__(self, component: Component, minor: int) -> None:
        self.component = component
        self.minor = minor
        self._nothing = parsed(component, {}, minor)

    def kind(self, name: str) -> str:
        return kind_of_value(self.component, name, self.minor)

    def value(self, name: str) -> str:
        """Return a valid value that is not empty."""
        kind = self.kind(name)
        return VALUES.get(name) or BY_KIND.get(kind) or ("1" if kind.startswith(("int", "uint")) else "own")

    def all_terms(self, terms: str, *, wanted: bool) -> Settings:
        """Return settings with which terms hold, or do not."""
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
        word = words.split("|")[0]
        suffix = "=1" if self.kind(name).startswith("map") else ""
        return {name: f"{word}{suffix}" if has_words else self.value(name)}

    def is_accepted(self, settings: Settings) -> bool:
        return is_accepted(self.component, self.completed(settings), self.minor)

    def completed(self, settings: Settings) -> Settings:
        """Return settings with what other rows require."""
        for rule in rules_about(self.component) * 2:
            if isinstance(rule.relation, Requires) and rule.since <= self.minor <= rule.until:
                arguments = parsed(self.component, settings, self.minor)
                if any(True for _ in unmet_rules([rule], arguments)):
                    terms = rule.relation.others()[:1] if rule.relation.is_any else rule.relation.others()
                    settings = {**self.all_terms(" ".join(terms), wanted=True), **settings}
        return settings

    def number(self, name: str, bound: float) -> str:
        """Return a number as a value of an argument."""
        if self.kind(name) == "duration":
            return f"{int(bound)}ns"
        return f"{bound:g}" if self.kind(name).startswith("float") else str(int(bound))


_Made = tuple["Settings | None", Settings]


def _one_of(_: _Maker, relation: OneOf, subject: str) -> _Made:
    return {subject: relation.words.split()[-1]}, {subject: "99" if relation.words[0].isdecimal() else "none-such"}


def _matches(make: _Maker, relation: Matches, subject: str) -> _Made:
    separator = "<" if make.kind(subject) == "mapLess" else "="
    valid, invalid = relation.syntax.valid, relation.syntax.invalid
    if make.kind(subject).startswith("map"):
        valid, invalid = valid.replace("=", separator), invalid.replace("=", separator)
    return {subject: valid}, {subject: invalid}


def _between(make: _Maker, relation: Between, subject: str) -> _Made:
    step = 10**9 if make.kind(subject) == "duration" else 1
    low, high = (None if bound is None else _number(bound) for bound in (relation.low, relation.high))
    assert low is not None
    meets = low + (0.5 if make.kind(subject).startswith("float") else step) if relation.is_open else low
    below = low if relation.is_open else low / 2 if relation.or_zero else low - step
    breaks = below if high is None else high + step
    candidates = (meets, meets + step, *([] if high is None else [high]))
    accepted = (number for number in candidates if make.is_accepted({subject: make.number(subject, number)}))
    return {subject: make.number(subject, next(accepted, meets))}, {subject: make.number(subject, breaks)}


def _number(bound: float | str) -> float:
    try:
        return float(bound)
    except ValueError:
        return duration(str(bound))


def _not_empty(_: _Maker, __: NotEmpty, subject: str) -> _Made:
    return None, {subject: ""}


def _unique(make: _Maker, _: Unique, subject: str) -> _Made:
    relations = [rule.relation for rule in rules_about(make.component) if rule.arguments == subject]
    item = next((one.words.split()[-1] for one in relations if isinstance(one, OneOf)), "own")
    separator = REPEATED if make.kind(subject) == "stringArray" else ","
    return {subject: item}, {subject: f"{item}{separator}{item}"}


def _alone(_: _Maker, relation: Alone, subject: str) -> _Made:
    return {subject: relation.word}, {subject: f"{relation.word},{OTHER_ITEMS[subject]}"}


def _includes(_: _Maker, relation: Includes, subject: str) -> _Made:
    return {subject: relation.words.split()[0]}, {subject: NOT_INCLUDED[subject]}


def _exceeds(make: _Maker, relation: Exceeds, subject: str) -> _Made:
    unit = 10**9 if make.kind(subject) == "duration" else 1
    # The defaults meet it.
    return None, {subject: make.number(subject, 20 * unit), relation.other: make.number(relation.other, 40 * unit)}


def _requires(make: _Maker, relation: Requires, subject: str) -> _Made:
    before = make.term(subject, wanted=True)
    others = [term for term in relation.others() if name_in(term) != name_in(subject)]
    met = make.all_terms(relation.terms, wanted=True)
    broken = make.all_terms(" ".join(others if relation.is_any else others[-1:]), wanted=False)
    rest = {} if relation.is_any else make.all_terms(" ".join(others[:-1]), wanted=True)
    return {**met, **before}, {**rest, **broken, **before}


def _excludes(make: _Maker, relation: Excludes, subject: str) -> _Made:
    before, both = make.term(subject, wanted=True), make.term(relation.others()[0], wanted=True)
    meets = None if not both else before
    if name_in(subject) == name_in(relation.others()[0]):
        both = {name_in(subject): ",".join(term.partition("=")[2] for term in (subject, relation.others()[0]))}
    return meets, {**before, **both}


def _forbidden(make: _Maker, _: Forbidden, subject: str) -> _Made:
    return None, make.term(subject, wanted=True)


_MAKERS: Mapping[type[Relation], Callable[..., _Made]] = {
    Alone: _alone,
    Between: _between,
    Exceeds: _exceeds,
    Excludes: _excludes,
    Forbidden: _forbidden,
    Includes: _includes,
    Matches: _matches,
    NotEmpty: _not_empty,
    OneOf: _one_of,
    Requires: _requires,
    Unique: _unique,
}
