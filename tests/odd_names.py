"""File names that a line, a quote, a glob or a terminal may take for something else."""

# No slash, no NUL, not "." or "..", at most 255 bytes.
NAMES = (
    'a b', ' lead', 'trail ', "a'b", 'a"b', 'a\nb', '\n', 'a\\b', '\\', '\\n', '%d', '%%', '%i', '$HOME', '${x}',
    '$(id)', '`id`', '*', 'a*b', '?', '[a-z]', '[', ']', '{a,b}', 'a,b', ',', 'a:b', '-', '-rf', '--', '..a', '...',
    'a..', '.a', '#a', 'a#b', 'a=b', '=', '@a', '~', '!a', '&', '&amp;', '<b>', '<script>', '--!>', '|', ';', 'a;b',
    '(', ')', 'a\tb', '\t', '\r', 'a\rb', '\x1b[31m', '\x7f', '\x01', '\udcff', 'a\udc80b', '\udce2\udc80', '\xe4',
    'a\u0308', '\u202e', '\u200f', '\u2028', '\xa0', '\ufeff', '\u65e5\u672c', '\U0001f600', "x" * 255,
    "\u00e9" * 127, 'TRAILER!!!', 'null', 'true', '0', '1e5', 'con', 'a\x0bb', 'a\x0cb', 'a\x85b', '^', 'a^b', '+',
    'a+b', '\\040', '\\x20', '%20', '..\\', '"\'', '\'"\'"\'', '-e', 'a -> b', ' -> ', '\\134',
)
