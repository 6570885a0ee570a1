"""Which class of Hugging Face a model is for."""

from nopos_plugin.exporters import gpt2, gpt_neox, llama

CLASSES = (llama, gpt_neox, gpt2)


def export(model):
    """(name, config.json, {name: tensor}) of the first class that holds `model`.

    Raises ValueError, which says what of it no class has a place for.
    """
    for one in CLASSES:
        if not one.lacks(model):
            made = one.export(model)
            if model.unused():
                raise ValueError(f"{one.NAME} has no place for {', '.join(model.unused()[:3])}")
            return (one.NAME, *made)
    reasons = "; ".join(
        f"{one.NAME} has no place for {', '.join(one.lacks(model))}" for one in CLASSES
    )
    raise ValueError(f"no class of Hugging Face's holds this model: {reasons}")
