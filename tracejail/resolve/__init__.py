"""What the host holds at a path: look-up, ELF closure, scripts, packages, accounts, policy."""
