"""What an object shows of itself in a notebook: heading, facts, tables, a picture, as HTML with all text escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from gammasky.engine.terminal import in_notebook

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAGE = """
<div style="max-width: 60em">
<p><b>{{ title }}</b>{% if note %}<br>{{ note }}{% endif %}</p>
{% if facts %}<table>
{% for name, value in facts.items() %}
<tr><th style="text-align: left">{{ name }}</th><td style="text-align: left">{{ value }}</td></tr>
{% endfor %}
</table>{% endif %}
{% for table in tables %}
<table>
<caption style="text-align: left">{{ table.caption }}</caption>
<thead><tr>{% for cell in table.headings %}<th style="text-align: left">{{ cell }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}
<tr>{% for cell in row %}<td style="text-align: left">{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
{% endfor %}
{% if picture %}<img alt="{{ title }}" style="max-width: 100%" src="data:image/png;base64,{{ picture }}">{% endif %}
</div>
"""


def card(
    title: str,
    note: str = "",
    facts: Mapping[str, str] | None = None,
    tables: Sequence[Mapping[str, Any]] = (),
    figure: Figure | None = None,
) -> str:
    """HTML of a heading with a note, facts by name, tables ("caption", "headings", "rows") and a figure."""
    picture = ""
    if figure is not None:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=80, facecolor="white", bbox_inches="tight")
        picture = base64.b64encode(buffer.getvalue()).decode("ascii")
    return str(_page().render(title=title, note=note, facts=facts or {}, tables=tables, picture=picture))


@cache
def _page() -> Any:
    from jinja2 import Environment

    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_PAGE)


def as_picture(figure: Figure) -> Figure:
    """The same figure, which a notebook shows as a picture, also where nothing has told it how."""
    if in_notebook():
        from IPython import get_ipython
        from IPython.core.pylabtools import select_figure_formats

        shell = get_ipython()
        try:
            shell.display_formatter.formatters["image/png"].lookup_by_type(type(figure))
        except KeyError:  # without `%matplotlib inline`
            select_figure_formats(shell, {"png"}, bbox_inches="tight")
    return figure
