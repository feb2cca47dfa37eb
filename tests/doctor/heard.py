"""The failures that doctor hears in a run, as JSON: `python -m tests.doctor.heard JAIL PROGRAM [ARGUMENT...]`."""

from __future__ import annotations

import errno
import json
import sys
from collections import Counter

from tracejail.diagnose import diagnose
from tracejail.model import TrialOptions
from tracejail.show import Silent


def main() -> None:
    """Print them: system call, path as spelled, errno, how often."""
    run = diagnose(TrialOptions(argv=tuple(sys.argv[2:]), jail=sys.argv[1], network="host"), Silent(), compare=False).run
    assert run is not None
    heard: Counter[tuple[str, str, str]] = Counter()
    for call in run.calls:
        if call.failed and call.name != "futex":  # how often threads meet is not the same in two runs
            spelled = call.record.arguments[-1].spelled if call.record.arguments else ""
            heard[call.name, spelled, errno.errorcode[-call.result]] += call.count
    print(json.dumps([[*key, count] for key, count in heard.items()]))


if __name__ == "__main__":
    main()
