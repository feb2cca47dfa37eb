"""No program is a special case: no string of the code names one. Prose in docstrings and comments may."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
# Alternatives of a regular expression.
_NAMES = (
    r"apache2|httpd|nginx|haproxy|squid|php-fpm|redis|redis-server|memcached|postgres|postgresql|mariadb|mariadbd|mysqld|"
    r"slapd|openldap|sshd|openssh|sftp-server|vsftpd|proftpd|postfix|sendmail|exim4|dovecot|bind9|unbound|dnsmasq|nsd|"
    r"chronyd|ntpd|rsyslogd|syslog-ng|java|nodejs|perl|gawk|busybox|sqlite3|rabbitmq|mongod|git"
)
# The one table of data that names programs: which tools help an intruder can't be said otherwise. No code asks for one of them.
_TABLE = TOP / "tracejail/audit/table.py"
_WORD = re.compile(rf"(?<![\w-])(?:{_NAMES})(?![\w-])", re.IGNORECASE)


def _strings(source: str) -> list[tuple[int, str]]:
    """The string constants of a module with their lines, without docstrings."""
    tree = ast.parse(source)
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body and isinstance(node.body[0], ast.Expr)
    }
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]


def test_no_string_names_a_program() -> None:
    found = [
        f"{path.relative_to(TOP)}:{line}: {text!r}"
        for path in sorted({*(TOP / "tracejail").rglob("*.py")} - {_TABLE})
        for line, text in _strings(path.read_text("utf-8"))
        if _WORD.search(text)
    ]
    assert found == []


def test_it_would_be_found() -> None:
    assert [line for line, text in _strings('"""nginx"""\nif x == "/usr/sbin/nginx": pass\n') if _WORD.search(text)] == [2]
