"""The management API as it goes over the wire, for its two ends: the plane and the client.

Messages are generated from protos/ and committed; `methods` reads the service from its descriptor.
Converts nothing: the plane does that.
"""
