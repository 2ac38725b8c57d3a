"""Certificates for people without a CA: P-256, short-lived, in files that are never overwritten.

Knows nothing of the daemon: what it makes is what any CA could have made.
"""
