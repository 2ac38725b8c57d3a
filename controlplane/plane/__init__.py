"""The unprivileged process: keeps and exports the journal, serves API, health and metrics.

Nothing here can hold up a reflex: the arc never waits for it, and restarts it when it dies.
"""
