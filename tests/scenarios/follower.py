"""Programs that carry out the steps of a remediation as JSON has them, here or on a host tree."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import yaml

from agent.base.errors import ExitCode
from tests.programs_here import without_private_mounts
from tests.scenarios.host_tree import HostTree

_SHADOWED = ("/etc", "/var", "/run", "/srv", "/opt", "/usr/local", "/usr/lib/systemd", "/usr/lib/sysctl.d", "/proc/sys")

_TOOLS = {
    "sudo": 'exec "$@"',
    "curl": "",
    "journalctl": "",
    "systemctl": "case $1 in unmask) rm /etc/systemd/system/$2;; restart) rm -f /run/k3s-harden/*.${2%.service};; esac",
}
"""Scripts in the place of programs that would need a network or a running systemd."""


class Steps(ABC):
    """Edits the files of a host, and runs commands on it."""

    def __init__(self) -> None:
        self._edits: set[tuple[str, int | None, str, str]] = set()
        self.prose: list[str] = []
        """The steps so far that no program can carry out."""

    def carry_out(self, steps: Sequence[Mapping[str, Any]], answer: int = 0) -> bool:
        """Carry out the steps of JSON; `answer` is the number of that to each question, of those with steps.

        False if a step only says what a person can do.
        """
        return all(self._carry_out(step, answer) for step in steps)

    def _carry_out(self, step: Mapping[str, Any], answer: int) -> bool:
        kind = step["kind"]
        if kind in {"run", "run-verb"}:
            self.paste(step["command"])
        elif kind == "edit":
            self._edit(step["location"]["path"], step["location"]["line"], step["old"], step["new"])
        elif kind == "set":
            self._setting(step["location"]["path"], step["key"], step["value"])
        elif kind == "decide":
            answers = [answer["steps"] for answer in step["answers"] if answer["steps"]]
            return bool(answers) and self.carry_out(answers[min(answer, len(answers) - 1)], answer)
        else:
            self.prose.append(step["text"])
            return False
        return True

    def _edit(self, file: str, line: int | None, old: str, new: str) -> None:
        if (file, line, old, new) in self._edits and old in new:
            return  # two problems can have the same addition
        self._edits.add((file, line, old, new))
        lines = self.read(file).split("\n")
        if not old:
            lines.insert(line or len(lines) - 1, new)
        elif line is None or line > len(lines) or old not in lines[line - 1] or (old in new and new in lines[line - 1]):
            return  # it was done before
        elif new:
            lines[line - 1] = lines[line - 1].replace(old, new, 1)
        else:
            left = re.sub(rf"([\"']?)(?:--)?{re.escape(old)}\1", "", lines[line - 1], count=1)
            lines[line - 1 : line] = [left] if left.strip(" -\t") and not left.startswith(":") else []
        self.write(file, "\n".join(lines))

    def _setting(self, file: str, key: str, value: str) -> None:
        content = yaml.safe_load(self.read(file)) or {}
        *above, last = key.split(".")
        inside = content
        for name in above:
            inside = inside.setdefault(name, {})
        inside.pop(last, None)
        if value:
            inside[last] = yaml.safe_load(value)
        self.write(file, yaml.safe_dump(content))

    @abstractmethod
    def read(self, file: str) -> str:
        """Return the content of a file, empty if there is none."""

    @abstractmethod
    def write(self, file: str, text: str) -> None:
        """Replace the content of a file."""

    @abstractmethod
    def paste(self, command: str) -> None:
        """Run a command in a shell."""


class Follower(Steps):
    """Edits the files of a host tree, and runs the commands on it. Commands of others require root."""

    def __init__(self, host: HostTree) -> None:
        super().__init__()
        self.host = host
        self._tools = host.root.with_name("tools")
        if not self._tools.exists():
            self._tools.mkdir()
            for name, line in _TOOLS.items():
                tool = self._tools / name
                tool.write_text(f"#!/bin/sh\n{line}\n")
                tool.chmod(0o755)
        for name, line in (("passwd", "root:x:0:0:root:/root:/bin/sh"), ("group", "root:x:0:")):
            host.write(f"/etc/{name}", f"{line}\n")

    def read(self, file: str) -> str:
        path = self.host[file]
        return path.read_text() if path.exists() else ""

    def write(self, file: str, text: str) -> None:
        path = self.host[file]
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(0o600)
        path.write_text(text)

    def paste(self, command: str) -> None:
        """Run a command in a shell whose files are those of the tree."""
        command = re.sub(r"^(?:sudo )?chroot \S+ ", "sudo ", command)
        words = shlex.split(command.removeprefix("sudo "))
        if words[:1] == ["k3s-harden"]:
            if "--root" not in words and words[1] not in {"explain", "impact", "render"}:
                words += ["--root", str(self.host.root), *self.host.options]
            assert "--root" not in words or words[words.index("--root") + 1] == str(self.host.root)
            self._own(words[1:])
            return
        if words[:2] == ["mv", "-nT"] and not os.path.lexists(self.host[words[2]]):
            return  # it was done before: two problems can have the same command
        if lacking := without_private_mounts():
            pytest.skip(lacking)
        # The directories of the tree replace those of this machine, but not those of its programs.
        shadows = {at: self.host[at] for at in _SHADOWED if self.host[at].is_dir()}
        mounts = "".join(f"mount --bind {shlex.quote(str(path))} {at}\n" for at, path in shadows.items())
        script = f"set -eu\nmount --make-rprivate /\n{mounts}mount -o remount,bind,ro /\n{command}\n"
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-c", script],
            env={"PATH": f"{self._tools}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SERVER": "server-1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert (done.returncode, done.stderr) == (0, ""), (command, done)

    def _own(self, words: list[str]) -> None:
        """Run k3s-harden. If it names a directory that is not safe, carry out its advice and run it again."""
        assert self.host.program is not None
        if words[0] == "install":
            is_packaged = self.host["/usr/lib/systemd/system/k3s-harden@.service"].exists()
            program = "/usr/bin/k3s-harden" if is_packaged else "/opt/k3s-harden"
            self.host.write("/usr/lib/systemd/systemd")
            self.host.write(program, "#!/bin/sh\n", 0o755)
            words += ["--program", program]
        if words[0] in {"check", "assess"}:  # the next run is this one
            at = words.index("--root")
            self.host.options = (*words[1:at], *words[at + 2 :])
        done = self.host.program.run(*words)
        seen: set[str] = set()
        while done.code not in {0, 3}:
            advice = dict.fromkeys(re.findall("run `((?:sudo )?(?:chown root:root|chmod go-w) .*?)`", done.stdout))
            new = [step for step in advice if step not in seen]
            if not new and done.code in {ExitCode.ERROR, ExitCode.PARTIAL}:
                return  # something else is in the way; the next report shows what
            assert new, done
            seen |= {*new}
            for command in new:
                self.paste(command.replace(str(self.host.root), ""))
            done = self.host.program.run(*words)
