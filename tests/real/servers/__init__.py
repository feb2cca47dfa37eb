"""Real servers as Debian packages them, a module for each kind, each with rows of the one table."""
