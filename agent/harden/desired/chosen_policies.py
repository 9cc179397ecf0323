"""Admission policies from files as the settings choose them, and the entries of psa.yaml that load them. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.yaml_reader import read_documents, text_at
from agent.harden.guide import manifests
from agent.harden.guide import policy_files as assets
from agent.harden.guide.guide_files import ADMISSION_POLICIES, ADMISSION_POLICIES_APPLY, POLICY_FILE
from agent.harden.guide.policy_files import Action
from agent.harden.settings.schema import PodSecurityStage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.harden.node.facts import HostFacts
    from agent.harden.settings.schema import Settings


def policy_files(settings: Settings, facts: HostFacts, *, denies: bool = True) -> Mapping[PurePosixPath, bytes]:
    """Return the files with policies, relative to the data directory, with their contents.

    They do not begin with `---`, since the API server rejects a document of comments before it.
    Without `denies`, a policy that the settings let deny warns.
    """
    return {
        ADMISSION_POLICIES[plugin]: text.removeprefix("---\n").encode()
        for plugin, text in _policies(settings, facts, denies=denies).items()
    }


def pod_security_action(settings: Settings) -> Action:
    """Return what the policy about Pod Security does."""
    is_postponed = settings.stage_pod_security is not PodSecurityStage.RESTRICTED
    if is_postponed and settings.pod_security_policy is Action.DENY:
        return Action.WARN  # the default is not restricted yet, so a label can have the same level
    return settings.pod_security_policy


def plugin_entries(settings: Settings, facts: HostFacts) -> str:
    """Return the lines of psa.yaml with which the API server loads the policies; empty without policies."""
    return "".join(
        assets.plugin_entry(plugin, facts.data_dir / ADMISSION_POLICIES[plugin].parent)
        for plugin in _policies(settings, facts)
    )


def _policies(settings: Settings, facts: HostFacts, *, denies: bool = True) -> Mapping[str, str]:
    """Return the policies by the plugin that loads them."""
    if not ADMISSION_POLICIES_APPLY.to(facts.role, facts.version) or facts.rancher_managed:
        return {}
    actions = {
        text: Action.WARN if action is Action.DENY and not denies else action
        for text, action in _validating(settings, facts)
    }
    found = {}
    if actions:
        found["ValidatingAdmissionPolicy"] = assets.validating(
            actions, settings.policy_managers, bind_administrators=settings.policies_bind_administrators
        )
    if settings.service_account_policy:
        exempt = [name.partition("/")[0] for name in settings.exempt_accounts]
        found["MutatingAdmissionPolicy"] = assets.service_accounts(exempt)
    return found


def _validating(settings: Settings, facts: HostFacts) -> Iterator[tuple[str, Action]]:
    """Yield the validating policies that are not off, each with its action."""
    if (level := pod_security_action(settings)) is not Action.OFF:
        exempt = manifests.exempt_namespaces(facts.version, with_rancher=settings.exempt_rancher)
        yield assets.pod_security({*exempt, *settings.exempt_namespaces}), level
    if settings.network_policy_policy is not Action.OFF:
        yield assets.network_policies(_names_of_network_policies(settings)), settings.network_policy_policy
    if settings.binding_policy is not Action.OFF:
        yield assets.bindings(), settings.binding_policy


def _names_of_network_policies(settings: Settings) -> set[str]:
    """Return the NetworkPolicies of policy.yaml, each as NAMESPACE/NAME."""
    content = manifests.network_policies(settings.network_policy_namespaces, settings.network_policy_allow)
    documents = read_documents(content, PurePosixPath(POLICY_FILE))
    keys = ("namespace", "name")
    return {"/".join(text_at(document.node, "metadata", key) for key in keys) for document in documents}
