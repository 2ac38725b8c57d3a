"""A child of the arc for one act that takes long: reclaim, a hook, evidence. Ends when it is done.

Knows the link and nothing of the arc; it decides nothing.
"""
