"""A manifest in other tools' words: file lists, archives, configurations. Each format is a file here and a row of formats.py."""
