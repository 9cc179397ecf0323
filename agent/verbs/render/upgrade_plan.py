"""The Plan with which the system-upgrade-controller upgrades this program on all nodes (upgrade.cattle.io/v1)."""

from __future__ import annotations

import re

from agent import __version__
from agent.base.errors import UsageError

_NAME = r"[a-z0-9][\w./:-]*"
_PLAN = """\
# With this Plan, the system-upgrade-controller brings k3s-harden {version} to all nodes, one after the other.
# For an image that was imported to the nodes, its ConfigMap default-controller-env must have
# SYSTEM_UPGRADE_JOB_IMAGE_PULL_POLICY=IfNotPresent instead of Always. A Plan cannot set this.
apiVersion: upgrade.cattle.io/v1
kind: Plan
metadata:
  name: k3s-harden
  namespace: system-upgrade
  annotations:
    # Without it, the controller ignores a change of the arguments.
    upgrade.cattle.io/digest: spec.upgrade.args,spec.upgrade.envs
spec:
  concurrency: 1
  exclusive: true
  jobActiveDeadlineSecs: 900
  serviceAccountName: system-upgrade
  nodeSelector:
    matchExpressions:
      - {{key: kubernetes.io/os, operator: In, values: [linux]}}
  tolerations:
    - operator: Exists
  # The controller appends the version as tag to an image that has neither a tag nor a digest.
  version: "{label}"
  upgrade:
    image: "{image}"
    args: [upgrade-node]
"""


def upgrade_plan(image: str) -> bytes:
    """Return the Plan for an image. Raises UsageError for a reference whose tag cannot be that of a label, too."""
    if pinned := re.fullmatch(rf"{_NAME}@sha256:([0-9a-f]{{64}})", image, re.ASCII):
        reference, label = image, f"sha256-{pinned[1][:12]}"
    elif tagged := re.fullmatch(rf"({_NAME}):(\w(?:[\w.-]{{0,61}}\w)?)", image, re.ASCII):
        reference, label = tagged[1], tagged[2]
    else:
        expected = "expected NAME@sha256:DIGEST, or NAME:TAG with a tag of at most 63 characters"
        raise UsageError(
            f"cannot use --image: found {image}, {expected}",
            "pass a reference such as registry.example/k3s-harden:1.0.0",
        )
    return _PLAN.format(version=__version__, image=reference, label=label).encode()
