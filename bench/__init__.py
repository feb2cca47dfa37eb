"""The benchmark: what tracejail costs beside native runs and beside every peer that the machine can have."""
