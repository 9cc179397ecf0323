"""The page docs/howto/host.md, for somebody whose K3s does not start."""

from __future__ import annotations

from collections.abc import Iterator

from agent.findings import KINDS
from agent.findings.machine.reason import REASONS
from tests.tools.markdown import generated, page, table

_INTRODUCTION = """\
`sudo k3s-harden check` looks for these reasons on the host, without running K3s and without side effects, and prints
the commands for this system. To search by symptom, read K3s' log: `journalctl -u k3s -n 50 --no-pager`. The gate blocks
K3s for none of them; [k3s-blocked.md](k3s-blocked.md) shows whether it does.

If K3s certainly exits, or starts again and again, the finding is an error, and `prevents_start` is true in JSON. The
others are warnings. [findings.md](../reference/findings.md) has the evidence for each, and whether `check --root`
reports it for a host tree, too.

`k3s check-config` examines the kernel's configuration and a few host settings, but not mounts, used ports, names,
clocks, tokens and the controller pids. It runs `modprobe` and unpacks K3s, so k3s-harden does not run it.

## After a fix

```sh
sudo k3s-harden check
sudo systemctl restart k3s
```

`check` no longer lists the reason, and K3s becomes `active`."""


def host_page() -> str:
    """Return the page."""
    return page(
        (
            "# K3s does not start: reasons on the host",
            generated("agent/findings/machine"),
            _INTRODUCTION,
            "## Where K3s fails",
            table(_HEAD, _rows(is_certain=True)),
            "## Where K3s may start, and something else fails",
            table(_HEAD, _rows(is_certain=False)),
            _AFTER,
        )
    )


_HEAD = ("in K3s' log", "cause", "fix")
_AFTER = "Reasons in K3s' configuration have [findings of their own](../reference/findings.md)."


def _rows(*, is_certain: bool) -> Iterator[tuple[str, ...]]:
    for name, reason in REASONS.items():
        kind = KINDS[name]
        if kind.prevents_start.holds == is_certain:
            cause = " ".join(kind.explanation.split("\n\n")[0].split())
            link = f"[`{name}`](../reference/findings.md#{name})"
            yield f"`{reason.symptom}`", f"{cause} {link}", kind.repair
