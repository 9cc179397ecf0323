"""The options that choose how the result of a run is printed, and the end of each run: print, and exit."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent.base.errors import HostError, UsageError
from agent.base.repair import Instruction
from agent.base.report import GATE_VERB, NODE_UID
from agent.base.value import Value, replace
from agent.cli.host_options import absolute
from agent.cli.streams import paged, print_error, print_text, printing
from agent.reports import present
from agent.reports.formats import ENDINGS, OF_AUDITORS, REPORT_FORMATS, Format, Verbosity

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, TextIO

    from agent.assess.assessment import Assessment
    from agent.assess.baseline import Comparison
    from agent.assess.frameworks import Framework
    from agent.base.errors import ExitCode
    from agent.base.report import Report, Wording


class ReportOptions(Value):
    """How a report is printed."""

    output_format: Format = Format.AUTO
    verbose: bool = False
    quiet: bool = False

    @property
    def verbosity(self) -> Verbosity:
        """The verbosity."""
        return Verbosity.VERBOSE if self.verbose else Verbosity.QUIET if self.quiet else Verbosity.NORMAL

    def refuse_contradictions(self) -> None:
        """Raise UsageError for options that exclude each other."""
        if self.verbose and self.quiet:
            raise UsageError("cannot use --verbose with --quiet", "omit one of them")

    def finish(self, report: Report, wording: Wording | None = None) -> NoReturn:
        """Print the report, worded for its verb, and exit with its exit code."""
        report = replace(report, wording=wording or report.wording)
        with printing(report.exit_code, changed=report.has_changed, decides=report.verb != GATE_VERB):
            present(report, self.output_format, self.verbosity, sys.stdout)
        sys.exit(int(report.exit_code))

    def finish_as(self, present_: Callable[[Format, Verbosity, TextIO], None], exit_code: ExitCode) -> NoReturn:
        """Print a result that is no report, and exit with its exit code."""
        with printing(exit_code):
            present_(self.output_format, self.verbosity, sys.stdout)
        sys.exit(int(exit_code))


class AssessmentOptions(ReportOptions):
    """How an assessment is printed, and the file it is written to."""

    output: Path | None = None
    sign: Path | None = None
    """The SSH key that signs the file."""
    beyond: bool = False
    """Whether the JSON of kube-bench has the controls beyond the benchmark."""
    framework: Framework | None = None
    """The framework whose rules group the controls in reports for people and in JSON."""

    def with_format_of_output(self) -> AssessmentOptions:
        """Return the options with the format of the file's ending, if no other format is given."""
        formats = ENDINGS.get("" if self.output is None else self.output.suffix)
        return replace(self, output_format=formats[0]) if formats and self.output_format is Format.AUTO else self

    @property
    def has_frameworks(self) -> bool:
        """Whether the report contains rules of other frameworks than CIS."""
        return self.framework is not None or self.output_format in OF_AUDITORS

    def refuse_contradictions(self) -> None:
        """Raise UsageError for an option that the format, or a run without a file, does not support."""
        super().refuse_contradictions()
        ending = "" if self.output is None else self.output.suffix
        if self.output_format not in (Format.AUTO, *ENDINGS.get(ending, Format)):
            problem = (
                f"cannot use --format {self.output_format} with --output {self.output}: {ending} is another format"
            )
            raise UsageError(problem, f"omit --format, or pass --format {ENDINGS[ending][0]}")
        for option, value, formats in (
            ("--beyond", self.beyond, (Format.KUBE_BENCH,)),
            ("--framework", self.framework, (*REPORT_FORMATS, Format.HTML)),
        ):
            if value and self.output_format not in formats:
                only = f"only {formats[0]} supports it" if not formats[1:] else f"it requires {', '.join(formats)}"
                problem = f"cannot use {option} with --format {self.output_format}: {only}"
                raise UsageError(problem, f"omit {option}")
        if self.sign and self.output in (None, Path("-")):
            raise UsageError("cannot use --sign without --output: a signature is for a file", "pass --output FILE")

    def finish_comparison(self, comparison: Comparison) -> NoReturn:
        """Print or write what differs between two reports, and exit with its exit code."""
        from agent.reports.assessments.comparison_report import comparison_text

        print_or_write(comparison_text(comparison, self.output_format).encode(), self.output)
        sys.exit(int(comparison.exit_code))

    def finish_assessment(self, assessment: Assessment, *, to_api: bool) -> NoReturn:
        """Print or write the assessment, also to the API server if `to_api`, and exit with its exit code."""
        from agent.reports.assessments import present_assessment

        if self.framework:
            from agent.assess.framework_view import in_framework

            assessment = in_framework(assessment, self.framework, numbered=self.output_format is not Format.JSON)
        if self.output_format is Format.OPENREPORTS and not assessment.fact(NODE_UID):
            print_error(
                "the report has no owner: the UID of the Node is not known",
                Instruction("pass --cluster on a server"),
            )
        with printing(assessment.exit_code):
            if self.output and self.output != Path("-"):
                self._write(assessment, self.output)
            else:
                with paged() as stream:
                    present_assessment(self._shown(assessment), self.output_format, self.verbosity, stream)
        if to_api:
            from agent.base.host import Host
            from agent.cluster.own_objects import write_report
            from agent.reports.assessments.openreports import node_report

            write_report(Host.real(), node_report(assessment), os.environ)
        sys.exit(int(assessment.exit_code))

    def _shown(self, assessment: Assessment) -> Assessment:
        """Return the assessment as its format has it: the exit code is about all controls."""
        if self.output_format is not Format.KUBE_BENCH or self.beyond:
            return assessment
        from agent.reports.assessments.kube_bench import of_benchmark

        return of_benchmark(assessment)

    def _write(self, assessment: Assessment, output: Path) -> None:
        """Write the assessment to a file with mode 0600, completely or not at all, and print one line about it."""
        from agent.reports.assessments import assessment_text
        from agent.reports.assessments.common import assessment_result

        data = assessment_text(self._shown(assessment), self.output_format, self.verbosity).encode()
        if self.sign:
            from agent.base.host import Host
            from agent.base.host.ssh_keygen import signature, signature_path

            # No report is left without its signature, so that is written first.
            signed = signature(Host.real(), data, absolute(self.sign))
            write_output(Path(signature_path(absolute(output))), signed)
        write_output(output, data)
        if self.verbosity is not Verbosity.QUIET:
            sys.stdout.write(f"{output}: {assessment_result(assessment)}\n")


def print_or_write(document: bytes, output: Path | None) -> None:
    """Print a text, or write it to a file that is not `-`."""
    if output is None or output == Path("-"):
        print_text(document.decode())
    else:
        write_output(output, document)


def write_output(output: Path, content: bytes) -> None:
    """Write a file with mode 0600, completely or not at all. Raises HostError.

    As root the program follows no path that others control. It writes such a file as the user who called it by sudo.
    """
    from agent.base.host import Host
    from agent.base.model import PRIVATE_FILE, File
    from agent.cli.caller import as_user_of_sudo

    file = File(path=absolute(output), content=content, mode=PRIVATE_FILE)
    try:
        try:
            Host.real().machine_tree.write(file)
        except HostError:
            with as_user_of_sudo() as user:
                if not user:
                    raise
                Host.real().machine_tree.write(file)
    except HostError as error:
        hint = "name a file in a directory that only you and root can write to, or redirect the output: >FILE"
        raise HostError(error.message, Instruction(hint)) from error
