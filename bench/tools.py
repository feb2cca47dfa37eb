"""How a program is put under each tool: nothing (native), tracejail by each engine, and the peers that watch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .process import TOP, Failed, Finished, run

# Not `-m` with PYTHONPATH: the target of `trace` has the caller's environment, and Python targets would see it.
TRACEJAIL = (sys.executable, "-c", f"import sys; sys.path.insert(0, {str(TOP)!r}); from tracejail.cli.main import main; "
             "sys.exit(main())")
ENGINES = ("bpf", "seccomp")  # in this order: what has the tightest bounds runs next to native
SLOW = 10
_LONG = "600"  # seconds for one round of a learn: the limit of the benchmark ends it before


@dataclass(frozen=True)
class Tool:
    """A tool and the command line that puts a program under it; the folder is for what it writes."""

    name: str
    words: Callable[[Sequence[str], Path], list[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    part: int = 1  # it is so slow that it makes only one in so many of a load's calls that succeed

    def probe(self, program: Sequence[str], folder: Path) -> Finished:
        """Run a program under it that must succeed. Raises Failed."""
        return run(self.words(program, folder), environment=self.environment, limit=30, directory=str(folder)).checked()


def tracejail(*words: str | Path) -> list[str]:
    return [*TRACEJAIL, *map(str, words)]


NATIVE = Tool("native", lambda program, _: list(program))


def _trace(engine: Sequence[str]) -> Callable[[Sequence[str], Path], list[str]]:
    return lambda program, _: tracejail("trace", "--misses", *engine, "-o", "/dev/null", "--timeout", _LONG, *program)


def _learn(engine: Sequence[str]) -> Callable[[Sequence[str], Path], list[str]]:
    return lambda program, folder: tracejail(
        "learn", *engine, "--json", "-j", folder / "jail", "--timeout", _LONG, "--net", "host", *program
    )


def engines(kind: str, folder: Path) -> tuple[list[Tool], list[str]]:
    """`tracejail trace` or `tracejail learn` by each engine that this version and this kernel have; and what is left out."""
    make = {"trace": _trace, "learn": _learn}[kind]
    tools, without = [], []
    told = run(tracejail(kind, "--help"), limit=30).checked().out
    for engine in ENGINES:
        options = ["--engine", engine]
        if "--engine" not in told:
            if engine != "seccomp":
                without.append(f"tracejail {kind} --engine {engine}: this version has no such option")
                continue
            options = []
        tool = Tool(f"tracejail {kind} {engine}", make(options), part=1 if engine == ENGINES[0] else SLOW)
        here = folder / f"{kind}.{engine}"
        here.mkdir()
        try:
            tool.probe(["/bin/true"], here)
        except Failed as failed:
            without.append(f"{tool.name}: {failed}")
        else:
            tools.append(tool)
    return tools, without


STRACE = Tool("strace --seccomp-bpf",
              lambda program, _: ["strace", "-f", "--seccomp-bpf", "-e", "trace=%file", "-o", "/dev/null", *program],
              part=SLOW)
STRACE_PLAIN = Tool("strace", lambda program, _: ["strace", "-f", "-e", "trace=%file", "-o", "/dev/null", *program],
                    part=SLOW)
PERF = Tool("perf trace",  # its group `file` is older than these two calls
            lambda program, _: ["perf", "trace", "-o", "/dev/null", "-e", "file,newfstatat,statx", *program], part=SLOW)
CDE = Tool("CDE", lambda program, _: ["cde", *program], part=SLOW)


def care(revealed: Path) -> Tool:
    """CARE hides /tmp from a program unless told otherwise, and crashes its tracees with seccomp on later kernels."""
    return Tool("CARE", lambda program, folder: ["care", "-r", str(revealed), "-o", f"{folder}/care/", *program],
                environment={"PROOT_NO_SECCOMP": "1"}, part=SLOW)


def reprozip(commands: Path) -> Tool:
    return Tool("ReproZip trace", lambda program, folder: [
        str(commands / "reprozip"), "trace", "-d", str(folder / "reprozip"), "-w", "--dont-identify-packages",
        "--dont-find-inputs-outputs", *program], environment={"HOME": str(commands.parent)}, part=SLOW)
