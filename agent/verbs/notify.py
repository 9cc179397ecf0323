"""Notifications of the drift check: which one is due, its delivery by a unit of its own, and the site's command in it.

The drift check runs as root without network, and writes what is due to a private file. systemd opens this file as the
standard input of `k3s-harden notify`, which runs as a user without privileges and runs the site's command.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from agent.assess.assessment import ControlStatus
from agent.assess.status_change import Known, Notification, due, known
from agent.changes import notifications
from agent.changes.notifications import DELIVERED, DIRECTORY
from agent.changes.state import make_directory
from agent.errors import HardenError, HostError, ReadOnlyEnvironmentError, UsageError
from agent.host.systemd import Systemd
from agent.model import PRIVATE_FILE, File
from agent.node.site_files import read_settings
from agent.present.assessments import notification as messages
from agent.present.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agent.assess.assessment import Assessment
    from agent.host import Host
    from agent.host.process import Completed
    from agent.settings.schema import Settings
    from agent.situation import Request

SCHEMA = 1
"""The version of the files in DIRECTORY. A file of another version counts as none."""

COMMAND_TIMEOUT = 60.0
"""Seconds; TimeoutStartSec= of the unit is longer."""

_TEST_TIMEOUT = 120.0
_HINT = "k3s-harden-notify@.service runs this; to test it, run `sudo k3s-harden drift --test-notification`"

_MOST_STARTS = 6
_PERIOD = 3600.0
"""At most _MOST_STARTS notifications in so many seconds: more changes wait for a later check."""

_LARGEST = 4 << 20
"""Bytes of a file in DIRECTORY; one with all controls has less than 200 KB."""


class Stored(NamedTuple):
    """A file in DIRECTORY."""

    number: int
    starts: tuple[float, ...]
    """The times of the notifications of the last hour."""
    known: Known | None
    """What the site knows after the delivery; None after a test, if nothing was delivered before."""
    command: tuple[str, ...] = ()
    message: str = ""
    """The JSON for the command."""
    causes: Mapping[str, str] = MappingProxyType({})
    """The likely causes of the changes in the message, by the id of the control."""


def notify(host: Host, settings: Settings, now: Assessment, causes: Mapping[str, str]) -> Iterator[str]:
    """Write the notification that is due, and have systemd deliver it; yield lines for the log.

    A failure is a line, never an error: it does not change the result of the drift check.
    """
    if not host.is_live:
        return
    try:
        if settings.drift_notify is None:
            _forget(host)
            return
        number, line = _prepare(host, settings.drift_notify, now, causes)
        if line:
            yield line
        if number is not None:
            yield _start(host, number)
    except HardenError as error:
        yield printable(f"cannot notify the site: {error.message}")


def send_test(host: Host, request: Request, assess: Callable[[], Assessment]) -> str:
    """Send a notification of event `test` and wait for its delivery. Raises HardenError if it fails."""
    host.refuse_ordinary_user("notify the site")
    settings = read_settings(host, request.settings_file, request.overrides)
    if settings.drift_notify is None:
        raise UsageError("cannot test the notification: `drift.notify` is not set", "set it in the settings")
    problem = notifications.problem(host, PurePosixPath(settings.drift_notify[0]))
    if problem:
        raise HostError(f"cannot run {settings.drift_notify[0]}: {problem}")
    systemd = Systemd(host)
    if not systemd.is_running:
        raise HostError("cannot notify the site: systemd is not running")
    now = assess()
    with _locked(host):
        before = _delivered(host)
        stored = Stored(_newest(host).number + 1, (), before, settings.drift_notify)
        number = _write(host, stored, Notification(before, known(now), (), is_test=True), now)
    unit = notifications.unit(number)
    try:
        systemd.run_to_end(unit, timeout=_TEST_TIMEOUT)
    except HostError as error:
        systemd.stop(unit)  # no further attempts
        host.writable_tree.remove_file(notifications.path(number))
        raise HostError(
            f"cannot notify the site: {settings.drift_notify[0]} failed", f"sudo journalctl -u {unit}"
        ) from error
    return f"{settings.drift_notify[0]} accepted notification {number}"


def deliver_input() -> str:
    """Run the site's command of the notification on standard input, as `deliver` does."""
    from agent.host import Host, process

    if Host.real().runs_as_root:
        raise UsageError("cannot notify as root: the command of the site runs without privileges", _HINT)
    return deliver(process.read_input(_LARGEST), process.run_with_input)


def deliver(data: bytes, run: Callable[..., Completed]) -> str:
    """Run the site's command of a stored notification with its message on standard input; return a line for the log.

    Raises UsageError if the data is no stored notification, and HostError if the command fails.
    """
    stored = _parsed(data)
    if stored is None or not stored.command:
        raise UsageError("cannot notify: standard input is not a stored notification", _HINT)
    done = run(stored.command, stored.message.encode(), timeout=COMMAND_TIMEOUT)
    if done.code:
        how = f"exit code {done.code}" if done.code > 0 else f"signal {-done.code}"
        output = done.stderr.strip().splitlines()
        raise HostError(
            printable(f"cannot notify the site: {stored.command[0]} ended with {how}{': ' if output else ''}")
            + printable(" | ".join(output[-5:]))
        )
    return printable(f"{stored.command[0]} accepted notification {stored.number}")


def _prepare(
    host: Host, command: tuple[str, ...], now: Assessment, causes: Mapping[str, str]
) -> tuple[int | None, str]:
    """Write the notification that is due. Return its number if it has to be started, and a line for the log."""
    with _locked(host):
        before = _delivered(host)
        notification = due(before, now)
        if notification is None:
            _remove(host, notifications.waiting(host))
            after = known(now)
            if before is None or before.statuses != after.statuses:  # also if a benchmark has other controls
                _save(host, DELIVERED, _newest(host)._replace(known=after, command=(), message="", causes={}))
            return None, ""
        if notifications.problem(host, PurePosixPath(command[0])):
            return None, ""  # a finding reports it
        stored = _newest(host)
        starts = tuple(one for one in stored.starts if 0 <= now.when - one < _PERIOD)
        if len(starts) >= _MOST_STARTS:
            return None, f"{_MOST_STARTS} notifications were sent in the last hour; a later check sends what changed"
        stored = Stored(
            stored.number + 1, (*starts, now.when), notification.now, command, causes={**stored.causes, **causes}
        )
        return _write(host, stored, notification, now), ""


def _write(host: Host, stored: Stored, notification: Notification, now: Assessment) -> int:
    """Write a notification in place of those that wait, and return its number."""
    earlier = notifications.waiting(host)
    message = messages.notification_json(notification, now, stored.number, stored.causes).decode()
    _save(host, notifications.path(stored.number), stored._replace(message=message))
    _remove(host, earlier)
    return stored.number


def _start(host: Host, number: int) -> str:
    unit = notifications.unit(number)
    systemd = Systemd(host)
    if not systemd.is_running:
        return "cannot notify the site: systemd is not running"
    systemd.start(unit)
    return f"notification {number} is delivered by {unit}"


@contextmanager
def _locked(host: Host) -> Iterator[None]:
    with ExitStack() as held:
        # As in the drift check: in the sandbox of its unit /run is read-only.
        with suppress(ReadOnlyEnvironmentError):
            held.enter_context(host.lock())
        yield


def _forget(host: Host) -> None:
    """Remove what is known of deliveries. If the setting returns, the first notification is due again."""
    if host.tree.names(DIRECTORY):
        with _locked(host):
            for path in (*map(notifications.path, notifications.waiting(host)), DELIVERED):
                host.writable_tree.remove_file(path)


def _remove(host: Host, numbers: tuple[int, ...]) -> None:
    for number in numbers:
        host.writable_tree.remove_file(notifications.path(number))


def _delivered(host: Host) -> Known | None:
    stored = _read(host, DELIVERED)
    return stored and stored.known


def _newest(host: Host) -> Stored:
    """Return the file with the highest number, from which the next one gets its number and the times of starts."""
    numbers = notifications.waiting(host)
    found = [_read(host, path) for path in (DELIVERED, *map(notifications.path, numbers))]
    newest = max((one for one in found if one is not None), key=lambda one: one.number, default=Stored(0, (), None))
    return newest._replace(number=max(newest.number, *numbers, 0))


def _read(host: Host, path: PurePosixPath) -> Stored | None:
    with suppress(HostError):
        data = host.tree.read(path, _LARGEST)
        return None if data is None else _parsed(data)
    return None


def _save(host: Host, path: PurePosixPath, stored: Stored) -> None:
    import json

    after = stored.known
    record = {
        "schema": SCHEMA,
        **stored._asdict(),
        "causes": dict(stored.causes),
        "known": after and after._asdict(),
    }
    make_directory(host.writable_tree, DIRECTORY)
    host.writable_tree.write(File(path=path, content=json.dumps(record).encode(), mode=PRIVATE_FILE))


def _parsed(data: bytes) -> Stored | None:
    import json

    try:
        record = json.loads(data)
        if record["schema"] != SCHEMA:
            return None
        after = record["known"]
        return Stored(
            number=int(record["number"]),
            starts=tuple(map(float, record["starts"])),
            known=after
            and Known(
                when=float(after["when"]),
                statuses={str(name): ControlStatus(status) for name, status in after["statuses"].items()},
                gate=tuple(map(str, after["gate"])),
                is_compliant=bool(after["is_compliant"]),
            ),
            command=tuple(map(str, record["command"])),
            message=str(record["message"]),
            causes={str(name): str(cause) for name, cause in record["causes"].items()},
        )
    except (ValueError, OverflowError, LookupError, TypeError, AttributeError, RecursionError):
        return None
