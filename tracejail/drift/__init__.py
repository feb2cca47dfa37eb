"""What differs between a jail, its manifest and the host: nouns and comparisons, without a look at any of them."""
