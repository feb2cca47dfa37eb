"""The syntax of service units; the odd cases are those of systemd's own documentation."""

from __future__ import annotations

import contextlib
import random

import pytest
from roots import Make

from tracejail.resolve.specifiers import specifiers, unescape
from tracejail.resolve.unit_syntax import (
    CommandLine,
    Malformed,
    assignments,
    commands,
    environment_file,
    expand,
    split,
    substitute,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[A]\nOne=value 1\nTwo = value 2\n\n# no\n ; no\n[B]\nOne=\"some thing\"", [
            ("A", "One", "value 1"), ("A", "Two", "value 2"), ("B", "One", '"some thing"')]),
        ("[C]\nKey=value 3\\\n# ignored\n; ignored too\n       value 3 continued\nX=y", [
            ("C", "Key", "value 3        value 3 continued"), ("C", "X", "y")]),
        ("[A]\nKey=two\\\\\nX=y", [("A", "Key", "two\\\\"), ("A", "X", "y")]),
        ("[A]\nKey=a \\\n\nX=y", [("A", "Key", "a"), ("A", "X", "y")]),
        ("[A]\nKey=at the end\\", [("A", "Key", "at the end")]),
        ("\ufeff[A]\r\nKey=a=b\r\n", [("A", "Key", "a=b")]),
        ("[A]\nKey=\n[X-Own]\nKey=1\n[A]\nX-Own=1", [("A", "Key", "")]),
        ("Key=1\n[A]\nnothing\n[B", ["Key=1", "nothing", "[B"]),
    ],
)
def test_assignments(text: str, found: list[object]) -> None:
    assert list(assignments(text)) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"VAR1=word1 word2" VAR2=word3 "VAR3=$word 5 6"', ["VAR1=word1 word2", "VAR2=word3", "VAR3=$word 5 6"]),
        ("ONE='one' \"TWO='two two' too\" THREE=", ["ONE=one", "TWO='two two' too", "THREE="]),
        (r"a\x20b \u00e4 \303\244 \s\t\\", ["a b", "ä", "ä", " \t\\"]),
        (r"\q \x00 \400 \ud800 end\ ".rstrip(), [r"\q", r"\x00", r"\400", r"\ud800", "end\\"]),
        (r'"a\"b" ' + r"'a\'b'", ['a"b', "a'b"]),
        ('"" \'\'', ["", ""]),
        (r"\xff", ["\udcff"]),
        ("", []),
        (" \t ", []),
    ],
)
def test_split(text: str, words: list[str]) -> None:
    assert split(text) == words


@pytest.mark.parametrize("text", ['"a', "a 'b", 'a" b'])
def test_unbalanced_quotes(text: str) -> None:
    with pytest.raises(Malformed):
        split(text)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("echo one ; echo \"two two\"", [("echo", "one"), ("echo", "two two")]),
        (r"echo / >/dev/null & \; ls", [("echo", "/", ">/dev/null", "&", ";", "ls")]),
        (r'echo ";" \\; a; b', [("echo", ";", "\\;", "a;", "b")]),
        (r"echo \;", [("echo", ";")]),
        ("a ;", [("a",)]),
        ("/bin/%p %i%%", [("/bin/web", "x%")]),
        ('"/bin/with space" b', [("/bin/with space", "b")]),
        ("", []),
    ],
)
def test_command_lines(value: str, found: list[tuple[str, ...]]) -> None:
    assert [line.words for line in commands(value, {"p": "web", "i": "x"})] == found


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("-/a b", CommandLine(("/a", "b"), may_fail=True)),
        ("@/a name b", CommandLine(("/a", "b"), own_name="name")),
        (":/a $X", CommandLine(("/a", "$X"), verbatim=True)),
        ("+-/a", CommandLine(("/a",), may_fail=True, full=True, as_root=True)),
        ("!/a", CommandLine(("/a",), as_root=True)),
        ("!!/a", CommandLine(("/a",))),
        ("-@!/a n", CommandLine(("/a",), may_fail=True, own_name="n", as_root=True)),
    ],
)
def test_prefixes(value: str, line: CommandLine) -> None:
    assert commands(value, {}) == [line]


@pytest.mark.parametrize("value", ["-", "-@", '/a "b'])
def test_command_lines_that_are_passed_over(value: str) -> None:
    with pytest.raises(Malformed):
        commands(value, {})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("echo $ONE $TWO ${TWO}", ["echo", "one", "two", "two", "two two"]),
        ("/bin/echo ${Q1} ${Q2} ${EMPTY}", ["/bin/echo", "'one'", "'two two' too", ""]),
        ("/bin/echo $Q1 $Q2 $EMPTY", ["/bin/echo", "one", "two two", "too"]),
        ("a $NONE ${NONE} x${NONE}y", ["a", "", "xy"]),
        ("a $$ONE $${ONE} b$ONE $ONE/x ${ONE", ["a", "$ONE", "${ONE}", "b$ONE", "${ONE"]),
        ("a -p${ONE}-${TWO} $", ["a", "-pone-two two"]),
        (":a $ONE ${ONE}", ["a", "$ONE", "${ONE}"]),
        ("kill -HUP $MAINPID ${MAINPID}", ["kill", "-HUP", "$MAINPID", "$MAINPID"]),
    ],
)
def test_variables(value: str, words: list[str]) -> None:
    environment = {"ONE": "one", "TWO": "two two", "Q1": "'one'", "Q2": "'two two' too", "EMPTY": ""}
    assert substitute(commands(value, {})[0], environment) == tuple(words)


def test_specifiers(make: Make) -> None:
    host = make(**{"etc/hostname": "ns1.example.org\n", "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
                   "etc/machine-id": "0123\n"})
    known = specifiers(host, "a-b\\x2dc@var-lib\\x20x.service", "/etc/a")
    assert expand("%p|%P|%j|%J|%i|%I|%f|%n", known) == (
        "a-b\\x2dc|a/b-c|b\\x2dc|b-c|var-lib\\x20x|var/lib x|/var/lib x|a-b\\x2dc@var-lib\\x20x.service")
    assert expand("%N %H %l %o%w %m %t %S %C %L %E %T %V %h %u%U%g%G %s %y %Y %% %d 100%", known) == (
        "a-b\\x2dc@var-lib\\x20x ns1.example.org ns1 debian12 0123 /run /var/lib /var/cache /var/log /etc /tmp /var/tmp "
        "/root root0root0 /bin/bash /etc/a /etc % %d 100%")
    plain = specifiers(host, "foo-bar.service", "")
    assert expand("%p %i %I %j %f", plain) == "foo-bar   bar /foo/bar"
    assert unescape("dev-sda\\xc3\\xa4") == "dev/sdaä"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A=1\n# B=2\n ;C=3\nno\n\nD = x  y \n", {"A": "1", "D": "x  y"}),
        ("A='one\ntwo' \nB=\"a\\\"b\\$c\\d\\\ne\"\n", {"A": "one\ntwo", "B": 'a"b$c\\de'}),
        ("A=a\\ b\\\\c\\\nd\n", {"A": "a b\\cd"}),
        ("A=it's \"so\"\nB='a'b\nC=\n", {"A": 'it\'s "so"', "B": "ab", "C": ""}),
        ("A=1\r\nA=2\nB='open", {"A": "2", "B": "open"}),
        ("A=1\nB=2\nA=3", {"B": "2", "A": "3"}),
        ("A=#no comment", {"A": "#no comment"}),
    ],
)
def test_environment_files(text: str, found: dict[str, str]) -> None:
    assert environment_file(text) == found
    assert list(environment_file(text)) == list(found)


def test_any_text_is_read_to_its_end() -> None:
    chance = random.Random(1)
    for _ in range(2000):
        text = "".join(chance.choices("ab $\\'\";#=[]{}%x0n\n\t-@ä\udcff", k=chance.randrange(24)))
        list(assignments(text))
        environment_file(text)
        split(text, lenient=True)
        with contextlib.suppress(Malformed):
            for line in commands(text, {"a": "b"}):
                substitute(line, {"a": "x y"})


def test_a_quoted_word_comes_back() -> None:
    chance = random.Random(2)
    for _ in range(500):
        word = "".join(chance.choices("ab \\'\"=\n$%", k=chance.randrange(9)))
        escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        assert split(f'"{escaped}" x') == [word, "x"]
        doubled = "".join("\\" + character if character in '"\\`$' else character for character in word)
        assert environment_file(f'A="{doubled}"\nB=1') == {"A": word, "B": "1"}
