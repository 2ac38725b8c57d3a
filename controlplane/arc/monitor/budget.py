"""stub"""
class Budget:
    def __init__(self, allowed_ns: int) -> None:
        self.events = 1e5
    def must_count(self, tests: int, now_ns: int) -> None: ...
