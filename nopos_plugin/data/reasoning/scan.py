"""SCAN: commands, and the actions that they stand for (Lake and Baroni, 2018).

    Solve: walk after turn right[SEP] Right Walk

Files are those of brendenlake/SCAN, a line a pair: `IN: walk after turn right OUT: I_TURN_RIGHT
I_WALK`. The length is the number of actions; the study has those of up to 25 in training.
"""

import re

from nopos_plugin.data.reasoning.published import Published, lines, malformed, words
from nopos_plugin.data.reasoning.registry import register

COMMANDS = (
    *("walk", "look", "run", "jump", "turn", "left", "right"),
    *("opposite", "around", "twice", "thrice", "and", "after"),
)
ACTIONS = {
    "I_WALK": "Walk",
    "I_LOOK": "Look",
    "I_RUN": "Run",
    "I_JUMP": "Jump",
    "I_TURN_LEFT": "Left",
    "I_TURN_RIGHT": "Right",
}


@register("scan")
class Scan(Published):
    """`example` takes the two sides of a pair."""

    unit = "actions"
    train, test = range(1, 26), range(26, 49)

    def read(self, path):
        for number, line in enumerate(lines(path), 1):
            pair = re.fullmatch("IN: (.+) OUT: (.+)", line)
            if not (pair and words(pair[1], COMMANDS) and words(pair[2], ACTIONS)):
                expected = "`IN: ... OUT: ...` with commands and actions of SCAN"
                raise malformed(path, number, line, expected)
            yield pair[1], pair[2]

    def example(self, source, target):
        actions = [ACTIONS[action] for action in target.split(" ")]
        return self.made(source, " ".join(actions), len(actions))

    def covering(self):
        return [self.example(" ".join(COMMANDS), " ".join(ACTIONS))]
