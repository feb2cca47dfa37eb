"""How a client sees that a reload was one: a number in the server's configuration, which is served, and which the client
changes as its last act. What it finds after the reload must be what it wrote before.

It waits for it, since a server says nothing of when a reload is done.
"""

from __future__ import annotations

WORDS = "generation-[0-9]*"


def served_as_written(file: str, ask: str, pattern: str = WORDS) -> str:
    """Shell lines: `ask` prints among other things what matches `pattern` in the server's `file`."""
    return f"""
generations=$TRACEJAIL_ROOT{file}
written=$(grep -o '{pattern}' $generations)
for time in 1 2 3 4 5 6 7 8 9 10; do
    served=$({ask} | grep -o '{pattern}')
    [ "$served" != "$written" ] || break
    sleep 0.5
done
[ -n "$written" ] && [ "$served" = "$written" ] && echo 'served as written' || echo "$served, not $written"
"""


def written_anew() -> str:
    """Shell lines: the next number, in the same file, so that its owner and mode stay."""
    return """
number=${written##*[!0-9]}
sed "s/$written/${written%$number}$((number + 1))/" $generations >{T}/generations
cat {T}/generations >$generations
"""


def greeting(port: int) -> str:
    """The line with which a server greets."""
    return f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; read -r -t 5 line <&3; echo \"$line\"'"
