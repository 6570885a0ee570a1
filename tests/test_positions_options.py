"""Options as text, there and back; the registry; what a user reads after a mistake."""

import dataclasses
import random
import typing

import pytest
import tiny

from nopos_plugin import positions
from nopos_plugin.positions.base import PositionEncoding
from nopos_plugin.positions.options import build_config, format_config, option, parse

NASTY = ",|=\\'\" ${}#%&;:.\t\n\r\x00\x7f@x5cu0041▁é語🙂"


def symbol(draw):
    return "".join(draw.choice(NASTY) for _ in range(draw.randint(1, 8)))


def random_value(draw, field, type_):
    if type_ is bool:
        return draw.random() < 0.5
    if type_ is int:
        return draw.randint(-(10**12), 10**12)
    if type_ is float:
        return draw.choice(
            [0.1, 1e-300, 1e300, -0.0, 500000.0, draw.gauss(0, 1), draw.random() / 3]
        )
    if type_ == tuple[float, ...]:
        return tuple(random_value(draw, field, float) for _ in range(draw.randint(0, 4)))
    if type_ == tuple[str, ...]:
        return tuple(symbol(draw) for _ in range(draw.randint(0, 4)))
    assert type_ is str
    return draw.choice(field.metadata["choices"]) if field.metadata["choices"] else symbol(draw)


def there_and_back(encoding, config):
    return build_config(encoding, parse(format_config(config)))


@dataclasses.dataclass(frozen=True)
class EveryType:
    yes: bool = option(True, "a truth")
    count: int = option(3, "tokens")
    rate: float = option(0.5, "a share")
    word: str = option("w", "a word")
    rule: str = option("one", "a rule", choices=("one", "two"))
    symbols: tuple[str, ...] = option((), "symbols")


class Made(PositionEncoding):
    name = "made"
    Config = EveryType


@pytest.mark.parametrize("name", positions.names())
def test_every_config_survives_as_text(name):
    encoding = positions.get(name)
    types = typing.get_type_hints(encoding.Config)
    draw = random.Random(name)
    assert there_and_back(encoding, encoding.Config()) == encoding.Config()
    for _ in range(50):
        values = {
            field.name: random_value(draw, field, types[field.name])
            for field in dataclasses.fields(encoding.Config)
        }
        config = encoding.Config(**values)
        assert there_and_back(encoding, config) == config


def test_any_symbols_survive_as_text():
    draw = random.Random(0)
    for _ in range(500):
        config = EveryType(word=symbol(draw), symbols=tuple(symbol(draw) for _ in range(3)))
        assert there_and_back(Made, config) == config


# what str.strip() takes away
@pytest.mark.parametrize("space", "\t \x1f\x85\xa0\u2028\u3000", ids=ascii)
def test_white_space_at_either_end_survives_as_text(space):
    for text in (space, f"{space}a", f"a{space}"):
        config = EveryType(word=text, symbols=("b", text))
        assert there_and_back(Made, config) == config


def test_text_survives_the_command_line():
    separators = tuple(f"{a}{b}" for a in NASTY for b in NASTY)
    written = format_config(positions.get("bipe_rope").Config(separators=separators))
    cfg = tiny.config("transformer_lm_bipe_rope", "--position-args", written)
    assert cfg.model.position_args == cfg.model.trained_position_args == written


def test_text_forms():
    text = r" yes = False , count=7,rate=1e3,word=a=b,rule=two,symbols=\x2c|.|\x7c\u2581\x5c "
    assert build_config(Made, parse(text)) == EveryType(
        False, 7, 1000.0, "a=b", "two", (",", ".", "|▁\\")
    )
    assert parse(None) == parse("") == parse(" , ") == {}
    assert format_config(EveryType()) == "yes=true,count=3,rate=0.5,word=w,rule=one,symbols="


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("yes", "--position-args: 'yes' is not of the form option=value"),
        ("=3", "--position-args: '=3' is not of the form option=value"),
        ("count=1,count=2", "--position-args: count is given twice"),
        (
            "cuont=1",
            "--position-args cuont=1: made has no option 'cuont'; its options are: "
            "yes, count, rate, word, rule, symbols",
        ),
        ("count=1.5", "--position-args count=1.5: made wants a value of type int"),
        ("rate=fast", "--position-args rate=fast: made wants a value of type float"),
        ("yes=1", "--position-args yes=1: made wants a value true or false"),
        ("rule=three", "--position-args rule=three: made knows one, two"),
    ],
)
def test_mistakes_are_named(text, sentence):
    with pytest.raises(ValueError) as error:
        build_config(Made, parse(text))
    assert str(error.value) == sentence


@pytest.mark.parametrize("name", positions.names())
def test_unknown_options_answer_with_the_known_ones(name):
    fields = [field.name for field in dataclasses.fields(positions.get(name).Config)]
    with pytest.raises(ValueError, match=f"{name} has no option 'nowhere'") as error:
        tiny.encoding(name, "nowhere=1")
    assert str(error.value).endswith(f"its options are: {', '.join(fields) or 'none'}")


@pytest.mark.parametrize("name", positions.names())
def test_registry_builds_what_it_names(name):
    encoding = tiny.encoding(name)
    assert type(encoding) is positions.get(name)
    assert encoding.name == name and isinstance(encoding.config, encoding.Config)
    assert encoding.describe().startswith(f"{name} (")


def test_registry_lists_its_names_and_refuses_doubles():
    assert positions.names() == sorted(set(positions.names()))
    known = ", ".join(positions.names())
    with pytest.raises(ValueError) as error:
        positions.get("rpoe")
    assert str(error.value) == (f"--position-encoding rpoe: unknown encoding; known are {known}")
    with pytest.raises(ValueError, match="encoding 'rope' is registered twice"):
        positions.register("rope")(Made)
    assert Made.name == "made" and positions.get("rope") is not Made
