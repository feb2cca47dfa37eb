"""The tree that a target runs in: building it from a manifest, and entering it."""
