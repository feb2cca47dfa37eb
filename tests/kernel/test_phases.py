"""Each late fixture by both engines: what it asks for late is found, in the phase that it states, in two rounds."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.kernel import fixture as fx
from tests.tool import processes, tracejail

_FIXTURES = fx.all_fixtures(fx.LATE)
_PORT = 7007
# A client that tries for two seconds: a server that is started anew has no listener in between.
_CLIENT = """for i in $(seq 40); do
  if exec 3<>/dev/tcp/127.0.0.1/{port} && printf %s {ask} >&3 && read -r answer <&3 && [ "$answer" = ok ]; then exit 0; fi
  sleep 0.05
done 2>/dev/null; exit 1"""


def _exercises(fixture: fx.Fixture) -> list[str]:
    words = []
    for ask in fixture.asks:
        script = _CLIENT.format(port=_PORT, ask=ask).replace("'", "'\\''")
        words += ["--exercise", f"exec bash -c '{script}'"]
    return words


@pytest.mark.parametrize("fixture", _FIXTURES, ids=lambda fixture: fixture.source.stem)
def test_late(fixture: fx.Fixture, place: Path) -> None:
    base, manifest_path = place / "base", place / "jail.json"
    (place / "bin").mkdir()
    command = [*fx.build(fixture, place / "bin"), str(base)]
    fx.prepare(fixture, base)
    manifests = []
    for engine in ("bpf", "seccomp"):
        options = ["--engine", engine, "--replace", "--timeout", "20", "-j", place / "jail", *fixture.learn]
        done = tracejail("learn", "--json", *options, *_exercises(fixture), *command, env={"LC_ALL": "C"})
        result = done.json
        assert (done.status, result["clean"], result["rounds"]) == (0, True, 2), (engine, result)
        stated = {line.replace("{base}", str(base)) for line in fixture.misses}
        misses = set(result["misses"])
        assert stated <= misses, (engine, stated - misses)
        own = {line for line in misses if fx.is_own(fixture, line, base) and "/bin/" not in line}
        if fixture.source.suffix == ".c":
            assert own <= stated, (engine, own - stated)
        sockets = {note["path"] for note in result["sockets"]}
        assert sockets == {path.replace("{base}", str(base)) for path in fixture.sockets}, (engine, sockets)
        text = manifest_path.read_text()
        entries = {entry["path"]: entry for entry in json.loads(text)["entries"]}
        for name, phase in fixture.phases:
            path = name if name.startswith("/") else f"{base}/{name}"
            assert path in entries, (engine, path, sorted(entries))
            assert entries[path].get("phase", "start") == phase, (engine, entries[path])
            why = tracejail("why", manifest_path, path).out
            assert (f"first at the {phase}" in why) is (phase != "start"), (engine, why)
        assert not processes(str(base))
        manifests.append(text)
    assert manifests[0] == manifests[1]
    verified = tracejail("verify", "--json", manifest_path, env={"LC_ALL": "C"})
    assert verified.status == 0, verified.json


def test_there_are_enough() -> None:
    assert len(_FIXTURES) >= 12


def test_the_machine_can_run_them() -> None:
    assert os.path.exists("/etc/resolv.conf")
    assert re.search("^www-data:", Path("/etc/passwd").read_text(), re.MULTILINE)
