"""What in a jail helps an intruder: pure rules over facts that were gathered once."""
