"""Compiles sensors at load: bcc for kernels that CO-RE cannot serve, clang or bcc for users' own sources.

A child of the arc, so that no compiler is ever in the arc's memory; it ends before the arc is armed.
"""
