"""Findings about what this node remembers of its cluster: name, token, password of the node, certificates."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent import __released__
from agent.base.model import Location
from agent.base.repair import NO_REPAIR, Answer, Decide, Run
from agent.findings.config_edits import replaced, without
from agent.findings.machine.reason import may_fail, stops_k3s
from agent.findings.registry import Problem, edit_of_k3s_config, steps
from agent.harden.node.machine.identity_and_network_facts import TOKEN_OF_CLUSTER
from agent.k3s.go_values import is_subdomain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.base.repair import Repair
    from agent.harden.node.machine.identity_and_network_facts import Identity
    from agent.harden.situation import Situation

_UNIQUE = '"node-$(head -c 8 /etc/machine-id)"'
"""A name of its own for each host, for a shell."""
_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "localhost4", "localhost6"})
_NEW_AUTHORITIES = Decide(
    "Does /opt/k3s/server have new authorities, as docs/cli/certificate.md of K3s describes?",
    (
        Answer(
            "Yes",
            "all nodes have to join again if the new ones are not cross-signed",
            (Run("sudo k3s certificate rotate-ca --path=/opt/k3s/server"),),
        ),
        Answer("No", "K3s fails when the certificate has expired", ()),
    ),
)


def _as_written(situation: Situation, identity: Identity) -> str:
    name = situation.facts.merged_config.scalar("node-name")
    return name.text if name is not None else identity.name


def _set_name(situation: Situation, name: str) -> Sequence[Run]:
    if situation.gate.is_openrc:  # its service `hostname` reads this file at boot
        return Run(f"echo {name} | sudo tee /etc/hostname"), Run(f"sudo hostname {name}")
    # Not `hostnamectl hostname`, which systemd has since 249.
    return (Run(f"sudo hostnamectl set-hostname {name}"),)


def _set_time(situation: Situation) -> Repair:
    if situation.gate.is_openrc:
        return steps(Run("sudo rc-service ntpd start"), Run("date"))
    return steps(Run("sudo timedatectl set-ntp true"), Run("timedatectl"))


@stops_k3s("set `node-name` or the host name to a name of RFC 1123")
def node_name_invalid(situation: Situation) -> Iterator[Problem]:
    """The name of the node is not a valid name in Kubernetes, so the node never registers.

    K3s uses `node-name`, or else the host name, in lower case. A valid name has letters, digits, `-` and `.`, and
    begins and ends with a letter or digit.
    """
    identity = situation.machine.identity
    if identity.name and not is_subdomain(identity.name):
        correct = re.sub("[^a-z0-9.-]", "-", identity.name.lower()).strip("-.") or "node"
        fix = (
            edit_of_k3s_config(replaced(situation, identity.name_location, _as_written(situation, identity), correct))
            if identity.name_location is not None
            else steps(*_set_name(situation, correct))
        )
        expected, found = "a name of RFC 1123: letters, digits, `-` and `.`", identity.name
        yield Problem("the name of the node is not valid in Kubernetes", expected, found, identity.name_location, fix)


@may_fail("set a host name of its own for each node")
def node_name_localhost(situation: Situation) -> Iterator[Problem]:
    """The name of the node is `localhost`. A second node with this name cannot join the cluster."""
    identity = situation.machine.identity
    if identity.name in _LOCAL_NAMES:
        fix = steps(*_set_name(situation, _UNIQUE))
        yield Problem("the name of the node is not unique", "a unique name", identity.name, identity.name_location, fix)


@stops_k3s("configure the token with which the cluster was started")
def token_changed(situation: Situation) -> Iterator[Problem]:
    """The configured token is not the one with which the datastore on this server was created.

    K3s encrypts the certificates in the datastore with the token. Neither token is printed.
    """
    location = situation.machine.identity.other_token
    if location is not None:
        of_cluster = situation.facts.data_dir / TOKEN_OF_CLUSTER
        message = f"the configured token differs from the one in {of_cluster}, which encrypts the datastore"
        key = "token-file" if situation.facts.merged_config.texts_at("token-file", location) else "token"
        fix = edit_of_k3s_config(*without(situation, key, location))
        yield Problem(message, f"the last part of the token in {of_cluster}", "another token", location, fix)


@may_fail("delete the Secret with the node's old password on a server")
def node_password_missing(situation: Situation) -> Iterator[Problem]:
    """The password of the node is missing although the node was part of a cluster, as after a reinstallation.

    K3s creates a new one, which the server rejects as long as it has the old one.
    """
    identity = situation.machine.identity
    if identity.lost_password:
        import shlex

        secret = shlex.quote(f"{identity.name}.node-password.k3s")
        message = "/etc/rancher/node/password is missing, and the kubelet has a certificate of the cluster"
        delete = Run(f"sudo k3s kubectl -n kube-system delete secret {secret}")
        restored, forgotten = "restore it, owned by root, with mode 0600", "run this on a server of the cluster"
        answers = (Answer("Yes", restored, ()), Answer("No", forgotten, (delete,)))
        fix = steps(Decide("Is there a backup of /etc/rancher/node/password?", answers))
        yield Problem(message, "the file /etc/rancher/node/password", "no such file", repair=fix)


@stops_k3s("correct the clock")
def clock_behind_certificates(situation: Situation) -> Iterator[Problem]:
    """The clock of this host is earlier than the validity of the cluster's certificates.

    A Raspberry Pi without a clock of its own starts with an old time until it has synchronized it.
    """
    identity = situation.machine.identity
    if identity.future_certificate is not None:
        message = "the clock of this host is behind"
        expected = f"later than {identity.future_certificate.valid_from}, when the certificate becomes valid"
        fix = _set_time(situation)
        yield Problem(message, expected, identity.now, Location(identity.future_certificate.path), fix)


@may_fail("correct the clock")
def clock_behind_program(situation: Situation) -> Iterator[Problem]:
    """The clock of this host is earlier than the release of this program, so new certificates of K3s expire early."""
    machine = situation.machine
    today = machine.identity.now
    if machine.is_live and machine.identity.future_certificate is None and today[: len(__released__)] < __released__:
        expected = f"later than {__released__}, the release of k3s-harden"
        yield Problem("the clock of this host is behind", expected, today, repair=_set_time(situation))


@may_fail("restart K3s, which renews all certificates but those of authorities")
def certificate_expires(situation: Situation) -> Iterator[Problem]:
    """A certificate of K3s has expired, or will within 30 days.

    K3s renews its certificates when it starts, if they have expired or will within 120 days; before v1.33.1, v1.32.5,
    v1.31.9 and v1.30.13 within 90 days. It never renews those of its authorities, which are valid for ten years.
    """
    identity = situation.machine.identity
    for certificate in identity.expiring:
        verb = "has expired" if certificate.until <= identity.now else "expires"
        message = f"the certificate {verb} on {certificate.until[:10]}"
        expected = "valid for 30 days or more"
        fix = steps(_NEW_AUTHORITIES) if certificate.is_authority else NO_REPAIR
        yield Problem(message, expected, f"valid until {certificate.until}", Location(certificate.path), fix)
