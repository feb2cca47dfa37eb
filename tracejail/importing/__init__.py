"""Lists that other tools made, read back: which paths they name, and what else they say of a jail."""
