"""The border between the two processes: what arc and plane say to each other, and nothing else.

Pure types and byte formats: rules and configuration (in), frames (both ways), records and journal
segments (out). Owns no file, no clock and no thread; the socket is touched in `channel` only.
"""
