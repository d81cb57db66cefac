from typing import NamedTuple

__version__: str
level: str

class LimitExceeded(RuntimeError): ...

class Progress(NamedTuple):
    phase: str
    iteration: int
    objective: float
    gap: float
    seconds: float
