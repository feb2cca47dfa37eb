"""From a syscall-stop to a miss: the syscall table, the engines, the tracer."""
