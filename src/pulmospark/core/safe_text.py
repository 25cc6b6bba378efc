"""Make text from outside safe for a terminal, a log line, an error or a label.

File names, sheets' cells, tensors' names and headers may contain characters that a terminal obeys
(ESC and the C1 controls move the cursor, change the title, write to the clipboard), or that
reverse the direction of the text around them, so that one name looks like another. All are shown
escaped (``\\x1b``, ``\\u202e``): nothing is hidden, and nothing is obeyed.
"""

from __future__ import annotations

import re

from pulmospark.core import limits

# C0 but for tab and line feed, DEL, C1, the marks, overrides and isolates of Unicode's
# bidirectional algorithm (UAX 9), line and paragraph separators, the byte order mark,
# interlinear annotations, and halves of surrogate pairs.
_UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff]"
)
_LINES = re.compile("[\t\n]")
_NOT_IN_A_NAME = re.compile(_UNSHOWABLE.pattern.replace("\x0b-\x1f", "\x0b\x0c\x0e-\x1f"))
_CUT = " ... "
_END_SHARE = 0.4


def shown(text: str) -> str:
    """The text with control characters escaped, except tabs and line feeds."""
    return _UNSHOWABLE.sub(_escape, text)


def one_line(text: str, most: int = limits.MESSAGE_CHARS_MAX) -> str:
    """The text as one line: tabs and line breaks are escaped, and a long one is shortened.

    The middle is removed: an error begins with the problem and ends with the remedy.

    Args:
        text: any text.
        most: characters of the line.
    """
    line = _LINES.sub(_escape, shown(text.strip("\n")))
    if len(line) <= most:
        return line
    end = int(most * _END_SHARE)
    return line[: most - end - len(_CUT)] + _CUT + line[-end:]


def percent(probability: float) -> str:
    """A probability as a person reads it; never a certainty that rounding made."""
    text = f"{100 * probability:.1f}"
    if probability < 1.0 and text == "100.0":
        return "over 99.9 %"
    if probability > 0.0 and text == "0.0":
        return "under 0.1 %"
    return f"{text} %"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, cut; its kind where it has none."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][: limits.DETAIL_CHARS_MAX]


def shown_json(text: str) -> str:
    """JSON with the same characters escaped; it parses to the same value."""
    return _UNSHOWABLE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def is_name(text: str) -> bool:
    """Whether a text can be the name of a class: not blank, and without control characters.

    Tabs and line breaks are allowed, since cells of real sheets contain them; they are escaped
    wherever they would end a line.
    """
    is_short = len(text.strip()) > 0 and len(text) <= limits.NAME_CHARS_MAX
    return is_short and _NOT_IN_A_NAME.search(text) is None


def _escape(match: re.Match[str]) -> str:
    return ascii(match.group())[1:-1]
