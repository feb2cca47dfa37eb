"""One run of a target in a tree. Ties trace, resolve and jail together; learn, verify and trace are made of runs."""
