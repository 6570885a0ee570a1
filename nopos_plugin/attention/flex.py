"""FlexAttention."""


def refusal(q, dropout):
    return "not written yet"


def flex(q, k, v, context, layer, scale, dropout):
    raise ValueError(refusal(q, dropout))
