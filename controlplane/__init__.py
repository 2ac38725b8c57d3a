"""reflexarc: a node's reflex arc for Linux."""

__version__ = "0.1.0"
