"""A page as an HTML parser sees it."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "input"}


class Outline(HTMLParser):
    """Tags in order, their attributes, the ids, the text, and what was left open."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.shape: list[tuple[str, ...]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.headings: list[int] = []
        self._classes: list[str] = []
        self._by_class: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, *(name for name, _ in attrs)))
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag in {"h1", "h2", "h3", "h4"}:
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)
            self._classes.append(dict(attrs).get("class") or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, *(name for name, _ in attrs)))
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag
        self._classes.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        for name in {name for names in self._classes for name in names.split()}:
            self._by_class.setdefault(name, []).append(data)

    def text_of(self, name: str) -> str:
        """Text in elements of a class."""
        return "".join(self._by_class.get(name, ()))
