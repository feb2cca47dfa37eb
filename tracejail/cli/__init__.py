"""Arguments, tables, progress, exit statuses: the one place that prints and the one error boundary."""
