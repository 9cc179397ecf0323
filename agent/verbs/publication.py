"""What the Node of this host should have after a drift check, which has no network; the verb publish sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.changes.publication import Publication, digest, machine_hash, read_publication
from agent.cluster.node_status import Annotation
from agent.cluster.own_node import KUBECONFIG
from agent.errors import HostError
from agent.model import File
from agent.present.assessments.common import timestamp
from agent.present.assessments.node_status import AboutNode, node_annotations, node_condition
from agent.settings.schema import Publish
from agent.situation.observation import observe_situation

if TYPE_CHECKING:
    from agent.assess.assessment import Assessment
    from agent.assess.baseline import Baseline
    from agent.host import Host
    from agent.settings.schema import Settings
    from agent.situation import Request


def new_publication(
    host: Host, request: Request, settings: Settings, last: Baseline | None, now: Assessment
) -> Publication | None:
    """Return what the Node should have after an assessment; None if this host publishes nothing.

    Raises HostError if it has no Node.
    """
    earlier = read_publication(host)
    if settings.publish is Publish.NONE:
        return earlier and earlier._replace(annotations={}, condition={}, drifted=[])
    situation = observe_situation(host, request)
    facts = situation.facts
    if facts.merged_config.boolean("disable-agent"):
        raise HostError("cannot publish the state of this server: it has no Node, because `disable-agent` is set")
    drifted = _drifted(last, now, earlier)
    before = earlier.annotations.get(Annotation.DRIFTING_SINCE) if earlier else None
    since = (before or timestamp(now.when)) if drifted else ""
    observed = (situation.observed.get(resource.id) for resource in situation.desired)
    about = AboutNode(
        role=facts.role,
        profile=settings.profile,
        machine=machine_hash(host),
        digests={str(file.path): digest(file.content) for file in observed if isinstance(file, File)},
        drifting_since=since,
        with_details=settings.publish is Publish.DETAILS,
    )
    kubeconfig = str(facts.data_dir / KUBECONFIG)
    return Publication(kubeconfig, now.when, node_annotations(now, about), node_condition(now, since), drifted)


def _drifted(last: Baseline | None, now: Assessment, earlier: Publication | None) -> list[str]:
    """Return the open controls that were not open at an earlier assessment."""
    candidates = set(earlier.drifted if earlier else ())
    candidates |= {name for name, status in last.statuses.items() if not status.is_open} if last else set()
    return [verdict.control.id for verdict in now.verdicts if verdict.is_open and verdict.control.id in candidates]
