"""tracejail learns what a program needs and builds the chroot jail that holds just that."""

__version__ = "0.1.0"
