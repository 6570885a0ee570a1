"""Tables as Markdown."""


def table(rows):
    """Markdown of rows of str, the first of them the heads: the first column left, others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = [widths[0] * "-", *((width - 1) * "-" + ":" for width in widths[1:])]
    return "\n".join(line(row, widths) for row in [rows[0], rule, *rows[1:]])


def line(row, widths):
    first, *rest = zip(row, widths, strict=True)
    cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
    return f"| {' | '.join(cells)} |"
