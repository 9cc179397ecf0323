"""Findings about K3s on this host: version, services, directories and datastore, and what could not be read."""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import AccessDeniedError
from agent.base.model import Location
from agent.base.repair import Answer, Decide, Edit, Repair, Run, RunVerb, Set
from agent.base.report import Trait
from agent.findings.config_edits import setting_to
from agent.findings.k3s_startup import not_read
from agent.findings.manifest_files import beyond_limits
from agent.findings.registry import (
    APPLY_WITH_VERSION,
    Problem,
    edit_of_k3s_config,
    error,
    instruction,
    no,
    note,
    quoted,
    steps,
    warning,
    yes,
)
from agent.harden.guide.guide_files import POLICY_FILE
from agent.harden.node.version import question
from agent.harden.settings.schema import DEFAULT_SETTINGS
from agent.k3s.redaction import redacted
from agent.k3s.roles_and_versions import (
    DEFAULT_DATA_DIR,
    K3S_BINARY,
    K3S_CONFIG_FILE,
    NEWEST_KNOWN,
    PREVIEWED,
    Role,
    ended_on,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.harden.situation import Situation
    from agent.k3s.services import K3sUnit, OtherProgram


@note(
    repair="make `k3s --version` work, pass `--k3s-version`, or set `k3s-version` and keep it current",
    traits=Trait.LIMITS_ASSESSMENT,
)
def version_assumed(situation: Situation) -> Iterator[Problem]:
    """The K3s version could not be determined, so the newest known version is assumed.

    K3s v1.24 and older require PodSecurityPolicies; v1.25 and newer do not support them.
    """
    facts = situation.facts
    if not (facts.version_is_known or facts.detected_version.unanswered or situation.had_pod_security_policies):
        reason = facts.detected_version.source
        message = f"the K3s version could not be determined: {reason}; {facts.version} is assumed"
        setting = None if situation.machine.is_live else partial(setting_to, situation, "k3s-version")
        yield Problem(message, repair=steps(question("apply", setting)))


_WRITABLE_ETC = Run(
    'sudo mount -o remount,rw "$(findmnt -nT /etc -o target)"',
    undo='sudo mount -o remount,ro "$(findmnt -nT /etc -o target)"',
)


@error(
    blocks_gate=yes("A K3s v1.24 would start without its PodSecurityPolicies."),
    prevents_start=no("K3s reads the files of the hardening for the newest version."),
    repair="make `k3s --version` work, or set `k3s-version` and keep it current",
    traits=Trait.LIMITS_ASSESSMENT,
)
def version_unknown(situation: Situation) -> Iterator[Problem]:
    """K3s is installed, but printed no version within 15 seconds, and neither a setting nor a record has it.

    The hardening depends on it: K3s v1.24 and older require PodSecurityPolicies; v1.25 and newer do not support them.
    """
    detected = situation.facts.detected_version
    if detected.unanswered and not situation.had_pod_security_policies:
        message = f"the K3s version could not be determined: {detected.source}"
        yield Problem(message, repair=APPLY_WITH_VERSION)


@error(
    blocks_gate=yes("The hardening for the assumed version would remove the protection of a K3s v1.24."),
    prevents_start=no("Nothing is changed, so K3s starts as before."),
    repair="run `sudo k3s-harden apply` with the version of K3s as `--k3s-version`",
)
def other_family_assumed(situation: Situation) -> Iterator[Problem]:
    """The K3s version could not be determined, and an earlier run set up this host for v1.24 or older.

    policy.yaml contains or contained PodSecurityPolicies, which only K3s v1.24 and older use. apply and the gate change
    nothing, because the hardening for the newest version would remove them.
    """
    if situation.had_pod_security_policies:
        message = "the K3s version could not be determined, and an earlier run set up this host for v1.24 or older"
        expected, found = "v1.24 or older", f"{situation.facts.version} assumed"
        yield Problem(message, expected, found, Location(situation.facts.data_dir / POLICY_FILE), APPLY_WITH_VERSION)


@warning(repair="remove `k3s-version` from the settings, or omit --k3s-version", traits=Trait.OF_RUNNING_K3S)
def version_differs(situation: Situation) -> Iterator[Problem]:
    """The K3s version of the settings or of `--k3s-version` is not the minor version of the installed K3s program.

    The program is what starts, so its version counts, and the setting only if no program prints a version.
    `--k3s-version` counts for its run, except in the gate: apply with it before an upgrade that follows.
    """
    facts = situation.facts
    given, printed = facts.detected_version.given, facts.detected_version.printed
    if given is None or printed is None or given.version.minor == printed.version.minor:
        return
    answers = (
        Answer("Yes", "the hardening fits it", ()),
        Answer("No", "the program decides", (RunVerb("apply", (f"--k3s-version {printed.version}",)),)),
    )
    fix = steps(Decide(f"Will K3s {given.version} be installed before the next start?", answers))
    if given.location is not None:
        fix = steps(Set("k3s-version", "", given.location))
    message = f"{given.name} is not the version of the K3s program; the hardening for {facts.version} applies"
    expected = f"{printed.version}, from {printed.program} --version"
    yield Problem(message, expected, f"{given.version}, from {given.name}", given.location, fix)


@note(repair="upgrade k3s-harden if a newer release exists", traits=Trait.NOT_CHECKED)
def version_newer(situation: Situation) -> Iterator[Problem]:
    """This K3s version is newer than the newest known version, whose hardening applies."""
    version = situation.facts.version
    if version.is_preview:
        message = (
            f"Kubernetes v{version.family} is not final: the feature gates, removed APIs and notes of {PREVIEWED} are"
            f" known, and the other rows are those for v{NEWEST_KNOWN.family}"
        )
        yield Problem(message)
    elif version.minor > NEWEST_KNOWN.minor:
        yield Problem(f"K3s {version} is not known to this release; the rows for v1.{NEWEST_KNOWN.minor} apply")


@warning(repair=f"upgrade K3s; `k3s-harden preflight v{NEWEST_KNOWN.family}` checks this host for it")
def k3s_end_of_life(situation: Situation) -> Iterator[Problem]:
    """Kubernetes publishes no security fixes any more for this minor version of K3s.

    The days are those of kubernetes.io/releases/patch-releases. A host tree with `--root` is not checked, because its
    hosts start on another day. The gate does not log it, because no start of K3s can change it.
    """
    facts = situation.facts
    is_checked = facts.version_is_known and situation.machine.is_live and not situation.for_gate
    day = ended_on(facts.version.minor, situation.today.date) if is_checked else ""
    if day:
        message = f"Kubernetes v{facts.version.family} has no security fixes any more"
        expected = f"a version that is supported on {situation.today.date}"
        is_newest = facts.version.minor == NEWEST_KNOWN.minor
        upgrade = steps(RunVerb("preflight", (f"v{NEWEST_KNOWN.family}",)))
        fix = instruction("upgrade k3s-harden, then K3s") if is_newest else upgrade
        yield Problem(message, expected, f"{facts.version}, supported until {day}", repair=fix)


@note(repair="set the arguments in the Cluster object; `k3s-harden render rancher-cluster` prints them")
def rancher_managed(situation: Situation) -> Iterator[Problem]:
    """Rancher writes K3s' configuration on this node, so k3s-harden does not: each would overwrite the other.

    Set the arguments in the Cluster object; `render rancher-cluster` prints them.
    """
    if situation.facts.rancher_managed:
        role = "" if situation.facts.role is Role.SERVER else ", for this agent and all other nodes"
        options = ("rancher-cluster", f"--k3s-version {situation.facts.version.family}")
        message = f"Rancher manages this node: K3s' arguments and Pod Security are in its Cluster object{role}"
        yield Problem(message, repair=steps(RunVerb("render", options)))


@error(
    blocks_gate=yes("The directories and manifests of the hardening are not where K3s reads them."),
    prevents_start=no("K3s uses a directory below its working directory or a home."),
    repair="write an absolute path, or set `data-dir` in the settings",
)
def data_dir_not_absolute(situation: Situation) -> Iterator[Problem]:
    """K3s' data directory depends on how K3s is started, so the default directory is hardened.

    K3s replaces `~` and `$HOME` in `data-dir` by a home directory, and other paths are below its working directory,
    which is / for a service of systemd. With `rootless` and without `data-dir`, the directory is ~/.rancher/k3s
    (k3s-io/k3s, pkg/datadir).
    """
    config = situation.facts.operator_config
    data_dir, rootless = config.scalar("data-dir"), config.scalar("rootless")
    if situation.settings.data_dir is not None:
        return
    is_given = data_dir is not None and data_dir.text != ""
    option = data_dir if is_given else rootless
    if option is not None and (not option.text.startswith("/") if is_given else config.boolean("rootless")):
        message = "the data directory of K3s depends on its working directory or home"
        expected = "an absolute path in `data-dir`"
        fix = _asked("data-dir", "Which data directory does K3s use?", DEFAULT_DATA_DIR)
        yield Problem(message, expected, option.text if is_given else f"rootless: {option.text}", option.location, fix)


@error(
    blocks_gate=yes("K3s can read files that are not hardened."),
    prevents_start=no("Nothing is changed, so K3s starts as before."),
    repair="let the service start `k3s server` or `k3s agent` on the files of the host, or set `k3s-config`",
    traits=Trait.LIMITS_ASSESSMENT,
)
def k3s_config_unknown(situation: Situation) -> Iterator[Problem]:
    """K3s starts in a way that cannot be followed, so it is not known which configuration K3s reads.

    The service starts a script or an unknown program, the configuration is at a URL, or the unit has K3s see other
    files than the host (RootDirectory=, TemporaryFileSystem=). K3s' own program is followed, and directly before it
    `env` without options, `nice`, `ionice`, `chrt` and `taskset`, each by its absolute path. At a start, the gate sees
    the process of K3s. At other times files are read, of which some lines are not understood. The setting `k3s-config`
    names the main configuration file that K3s reads. With an empty `--config` it reads none.
    """
    facts, given = situation.facts, situation.settings.k3s_config
    is_recorded = situation.recorded_config is not None
    yield from unknown_config(facts.unit, facts.other_programs, facts.data_dir, given, is_recorded=is_recorded)
    if not situation.unseen_before:
        yield from _unseen(situation)
    if situation.start_problem:
        fix = instruction("let K3s see the files of the host; if they have just changed, systemd repeats the start")
        path = facts.unit.path if facts.unit else facts.configuration.path
        yield Problem(f"cannot judge this start of K3s: {situation.start_problem}", location=Location(path), repair=fix)


def _unseen(situation: Situation) -> Iterator[Problem]:
    for path in situation.unseen:
        fix = instruction("let K3s read a file that each process of this host sees", Location(path))
        yield Problem("K3s can see another file here than this program", "", str(path), Location(path), fix)


def _asked(key: str, question: str, usual: PurePosixPath) -> Repair:
    """Return the question for a path that only a person knows."""
    setting = Set(key, str(usual), Location(DEFAULT_SETTINGS))
    answers = (
        Answer(str(usual), "it is the usual one", (setting,)),
        Answer("Another", f"`{key}` in {DEFAULT_SETTINGS} has its path", ()),
    )
    return steps(Decide(question, answers))


def unknown_config(
    unit: K3sUnit | None,
    others: Iterable[OtherProgram],
    data_dir: PurePosixPath,
    given: PurePosixPath | None,
    *,
    is_recorded: bool = False,
) -> Iterator[Problem]:
    """Yield why the files that K3s reads are not known; a setting or a record can give its configuration."""
    setting = _asked("k3s-config", "Which main configuration file does K3s read?", K3S_CONFIG_FILE)
    for other in others if unit is None and given is None else ():
        message = f"the configuration of K3s is not known: {other.unit.name}: {other.reason}"
        yield Problem(message, "", other.program.text, other.program.location, setting)
    if unit is not None and unit.config_problem and (given is None or not (unit.given_config or is_recorded)):
        message = f"the configuration of K3s is not known: {unit.config_problem}"
        empty = (word for word in unit.arguments if word.text.partition("=")[0] in {"--config", "-c"})
        edits = (Edit(word.location, word.text) for word in empty if not unit.given_config)
        fix = setting if unit.given_config else edit_of_k3s_config(*edits)
        yield Problem(message, "", redacted(unit.given_config), Location(unit.path), fix)
    if unit is not None and unit.on_host(data_dir) != data_dir:
        message = f"K3s sees other files in {data_dir} than this host has there"
        fix = instruction("let K3s see the directory of the host", Location(unit.path))
        yield Problem(message, str(data_dir), str(unit.on_host(data_dir)), Location(unit.path), fix)


@error(
    blocks_gate=no("An upgrade of this program must not block a K3s that the earlier release let start."),
    prevents_start=no("K3s starts as before."),
    repair="set `k3s-config`, or let the service start `k3s server` or `k3s agent` on the files of the host",
    traits=Trait.LIMITS_ASSESSMENT,
)
def k3s_config_recorded(situation: Situation) -> Iterator[Problem]:
    """K3s starts in a way that only earlier releases followed, and the configuration that one of them found is used.

    An upgrade must not block K3s. After a change of the service's command, only the setting `k3s-config` counts.
    """
    if situation.unseen_before:
        yield from _unseen(situation)
    if situation.recorded_config is not None:
        message = f"{situation.recorded_config} is the configuration of K3s by a record of an earlier release"
        setting = setting_to(situation, "k3s-config", str(situation.recorded_config))
        yield Problem(message, location=Location(situation.recorded_config), repair=steps(setting))


@warning(
    repair="let the service start `k3s server` or `k3s agent`, and move the options to K3s' files",
    traits=Trait.LIMITS_ASSESSMENT,
)
def k3s_command_unknown(situation: Situation) -> Iterator[Problem]:
    """A service of K3s starts another program, such as a script, so the command line of K3s is not known.

    Options on it override those of K3s' configuration files. check and assess assume that it has no options. The
    hardening is in the files, so an option in the script can undo it without a trace in the report.
    """
    for other in situation.facts.other_programs:
        message = (
            f"{other.unit.name} starts another program, so the command line of K3s is not known;"
            f" assumed: no options besides those in {situation.facts.configuration.path} and its drop-ins"
        )
        yield Problem(message, f"ExecStart={K3S_BINARY} {other.role.value}", other.program.text, other.program.location)


@note(repair="assess it with `--unit`, or disable it if nobody uses it")
def service_not_assessed(situation: Situation) -> Iterator[Problem]:
    """Another service starts K3s in the same role, or with the same configuration.

    It does not run, or --unit names a different one. While one of them starts or runs, the gate blocks the other one if
    that needs other content in the same configuration (start-contested).
    """
    facts = situation.facts
    for unit in facts.units:
        is_rival = unit.role is facts.role or unit in facts.sharing
        if facts.unit is not None and is_rival and unit.path != facts.unit.path:
            message = f"{unit.path.name} starts K3s, too; this report is about {facts.unit.path.name}"
            name = quoted(PurePosixPath(unit.path.name))
            disable = Run(f"sudo systemctl disable --now {name}", undo=f"sudo systemctl enable --now {name}")
            answers = (
                Answer("Yes", "it gets a report of its own", (RunVerb("check", (f"--unit {name}",)),)),
                Answer("No", "it ends, and does not start again", (disable,)),
            )
            fix = steps(Decide(f"Is {unit.path.name} used?", answers))
            yield Problem(message, location=Location(unit.path), repair=fix)


@error(
    blocks_gate=yes("Files of the hardening are missing, and the gate cannot write them."),
    prevents_start=no("K3s starts without the files."),
    repair="run apply for the image with `--root`, or make /etc writable",
)
def read_only_etc(situation: Situation) -> Iterator[Problem]:
    """/etc is read-only, as on an immutable system, and files are missing there. They have to be part of the image."""
    if situation.facts.platform.etc_is_read_only:
        missing = [change.id for change in situation.plan.changes if change.id.startswith("/etc/")]
        if missing:
            answers = (
                Answer("Yes", "the build of the image runs apply with `--root`", ()),
                Answer("No", "/etc is mounted writable until the next boot", (_WRITABLE_ETC, RunVerb("apply"))),
            )
            fix = steps(Decide("Does this host boot from an image that is built anew?", answers))
            yield Problem(f"/etc is read-only, so apply cannot write {' and '.join(missing)}", repair=fix)


@warning(repair="run as root, or correct what cannot be read", traits=Trait.LIMITS_ASSESSMENT | Trait.NOT_CHECKED)
def not_readable(situation: Situation) -> Iterator[Problem]:
    """A file or directory could not be read, so this report does not include its content."""
    elsewhere = {problem.message for problem in not_read(situation)}
    for problem in (*situation.unreadable, *beyond_limits(situation)):
        if problem.message not in elsewhere:
            as_root = isinstance(problem, AccessDeniedError)
            repair = steps(RunVerb("check")) if as_root else problem.repair
            by_hand = instruction(f"remove the cause, or move the file away: {problem.message}")
            yield Problem(problem.message, repair=repair if repair.steps else by_hand)


@warning(repair="restart the service", traits=Trait.LIMITS_ASSESSMENT | Trait.OF_RUNNING_K3S)
def restart_needed(situation: Situation) -> Iterator[Problem]:
    """A file that K3s reads only when it starts changed after K3s started, so the change has no effect yet."""
    changed = situation.changed_since_start
    if changed:
        from shlex import quote

        service = quote(situation.facts.service.removesuffix(".service"))
        message = f"{' and '.join(changed)} changed after K3s started"
        command = f"rc-service {service} restart" if situation.gate.is_openrc else f"systemctl restart {service}"
        yield Problem(message, repair=steps(Run(f"sudo {command}")))
