"""How the minutes of a run are spent."""

import time


class Budget:
    """Seconds that are left of `minutes`, from now on."""

    def __init__(self, minutes, clock=time.monotonic):
        self.seconds, self.clock, self.start = 60 * minutes, clock, clock()

    def spent(self):
        return self.clock() - self.start

    def left(self):
        return self.seconds - self.spent()


def fitting(costs, left):
    """The names of `costs` (seconds by name) that fit into `left` seconds, first come first served.

    None of them if the first does not fit, since the others are compared with it.
    """
    chosen = []
    for name, cost in costs.items():
        if cost < left:
            chosen.append(name)
            left -= cost
        elif not chosen:
            break
    return chosen
