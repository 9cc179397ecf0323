"""Notifications of the drift check: which one is due, and its delivery by a unit without privileges.

The drift check runs as root without network. It writes the notification and the site's command to private files.
systemd opens them for k3s-harden-notify@NUMBER.service, which runs the command and tries again if it fails.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.assess.likely_cause import Notification, due_notification
from agent.base.errors import HardenError, HostError, UsageError
from agent.base.host.systemd import Systemd
from agent.base.model import PRIVATE_FILE, File
from agent.base.repair import Run
from agent.harden.changes.state import (
    COMMAND,
    DIRECTORY,
    LAST_NUMBER,
    command_problem,
    locked_state,
    make_directory,
    notification_path,
    notification_unit,
    waiting_notifications,
)
from agent.harden.node.site_files import read_settings
from agent.reports.assessments.common import cleaned
from agent.reports.assessments.notification import notification_json
from agent.reports.repair_texts import Caller, called_by
from agent.reports.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agent.assess.assessment import Assessment
    from agent.assess.baseline import Baseline
    from agent.base.host import Host
    from agent.harden.settings.schema import Settings
    from agent.harden.situation import Request

_TEST_TIMEOUT = 120.0

_MOST_WAITING = 10
"""Notifications that wait for their delivery: a command that fails for months does not fill the disk."""


def notify(
    host: Host, settings: Settings, last: Baseline | None, now: Assessment, causes: Mapping[str, str]
) -> Iterator[str]:
    """Write the notification that is due, and have systemd deliver all that wait; yield lines for the log.

    A failure is a line, never an error: it does not change the result of the drift check.
    """
    if not host.is_live:
        return
    try:
        if settings.drift_notify is not None:
            yield from _notify(host, settings.drift_notify, last, cleaned(now), causes)
        elif host.tree.exists(DIRECTORY):
            # The first notification is due again if the setting returns.
            with locked_state(host):
                for path in (*map(notification_path, waiting_notifications(host)), COMMAND, LAST_NUMBER):
                    host.writable_tree.remove_file(path)
                host.writable_tree.remove_directory(DIRECTORY)
    except HardenError as error:
        yield printable(f"cannot notify the site: {error.message}")


def send_test(host: Host, request: Request, assess: Callable[[], Assessment]) -> str:
    """Send a notification of event `test` and wait for its delivery. Raises HardenError if it fails."""
    host.refuse_ordinary_user("notify the site")
    settings = read_settings(host, request.settings_file, request.overrides)
    if settings.drift_notify is None:
        raise UsageError("cannot test the notification: `drift.notify` is not set", "set it in the settings")
    program = settings.drift_notify[0]
    problem = command_problem(host, PurePosixPath(program))
    if problem:
        raise HostError(f"cannot run {program}: {problem}")
    systemd = Systemd(host)
    if not systemd.is_running:
        raise HostError("cannot notify the site: systemd is not running")
    now = assess()
    with locked_state(host):
        make_directory(host.writable_tree, DIRECTORY)
        _write_command(host, settings.drift_notify)
        number = _write(host, Notification("test", None, ()), now, {})
    unit = notification_unit(number)
    try:
        systemd.run_to_end(unit, timeout=_TEST_TIMEOUT)
    except HostError as error:
        systemd.stop(unit)  # no further attempts
        host.writable_tree.remove_file(notification_path(number))
        raise HostError(f"cannot notify the site: {program} failed", Run(f"sudo journalctl -u {unit}")) from error
    return f"{program} accepted notification {number}"


def _notify(
    host: Host, command: tuple[str, ...], last: Baseline | None, now: Assessment, causes: Mapping[str, str]
) -> Iterator[str]:
    with locked_state(host):
        is_first = not host.tree.exists(DIRECTORY)
        make_directory(host.writable_tree, DIRECTORY)
        notification = due_notification(None if is_first else last, now)
        if notification is not None:
            _write(host, notification, now, causes)
        waiting = waiting_notifications(host)
        if waiting:
            _write_command(host, command)
    if not waiting or command_problem(host, PurePosixPath(command[0])):
        return  # a finding reports an unusable command
    systemd = Systemd(host)
    if not systemd.is_running:
        raise HostError("systemd is not running")
    for number in waiting:
        systemd.start(notification_unit(number))
        yield f"notification {number} is delivered by {notification_unit(number)}"


def _write(host: Host, notification: Notification, now: Assessment, causes: Mapping[str, str]) -> int:
    """Write a notification, and return its number: the time of the assessment, or the one after the last number."""
    last = host.tree.read_text(LAST_NUMBER)
    number = max(int(now.when), int(last) + 1 if last.isascii() and last.isdigit() else 0)
    host.writable_tree.write(File(path=LAST_NUMBER, content=str(number).encode(), mode=PRIVATE_FILE))
    with called_by(Caller):  # somebody else reads it
        content = notification_json(notification, now, number, causes)
    host.writable_tree.write(File(path=notification_path(number), content=content, mode=PRIVATE_FILE))
    for oldest in waiting_notifications(host)[:-_MOST_WAITING]:
        host.writable_tree.remove_file(notification_path(oldest))
    return number


def _write_command(host: Host, command: tuple[str, ...]) -> None:
    import shlex

    host.writable_tree.write(File(path=COMMAND, content=f"exec {shlex.join(command)}\n".encode(), mode=PRIVATE_FILE))
