"""Policies and configuration as people write them: YAML and units in, `link` types out.

The only place that reads settings. The arc never imports it: it runs `policy.compile` as a child.
"""
