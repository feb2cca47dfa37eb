"""The only way into the kernel: system calls wrapped one by one. Knows no jail and no policy."""
