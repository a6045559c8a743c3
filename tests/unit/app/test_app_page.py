"""The page: everything it says has Chinese words, everything it asks for is its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import repix.app

PAGE = Path(repix.app.__file__).parent / "page"
ENGLISH_STAYS = {"repix", "repix app --model FOLDER", "API", "x", "y", "‹", "›"}


def unquoted(text: str) -> str:
    return text.replace("\\'", "'")


def words() -> set[str]:
    """The English words that zh.js has Chinese ones for."""
    text = (PAGE / "zh.js").read_text(encoding="utf-8")
    quoted = re.findall(r"'((?:[^'\\]|\\.)*)':|\"([^\"]*)\":|(?:^|[\s,{])(\w+):", text)
    return {unquoted(first or second or third) for first, second, third in quoted}


def test_everything_that_scripts_say_has_chinese_words() -> None:
    said = {
        unquoted(text)
        for script in PAGE.glob("*.js")
        if script.name != "zh.js"
        for text in re.findall(r"\bt\('((?:[^'\\]|\\.)*)'", script.read_text(encoding="utf-8"))
    }
    assert len(said) > 50
    assert said - words() == set()


def test_everything_that_the_page_says_has_chinese_words() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    html = re.sub(
        r"<head>.*?</head>|<noscript>.*?</noscript>|<p id=\"translate-none\".*?</p>", "", html, flags=re.DOTALL
    )
    texts = {text.strip() for text in re.findall(r">([^<>]+)<", html)} - {""}
    said = {value for name in ("aria-label", "title", "alt") for value in re.findall(rf'\b{name}="([^"]+)"', html)}
    percent = {text for text in texts if re.fullmatch(r"\d+ %", text)}
    assert len(texts) > 40
    assert texts - percent - ENGLISH_STAYS - words() == set()
    assert said - ENGLISH_STAYS - words() == set()


@pytest.mark.parametrize("path", sorted(PAGE.iterdir()), ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    if path.suffix in (".jpg",):
        return
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"https?://|url\(|@import", text) == []
    assert re.findall(r"\son\w+=|<script>|style=", text) == []  # what the content security policy forbids


def test_the_page_without_a_server_has_chinese_words_too() -> None:
    source = Path(__file__).parents[3] / "web" / "src"
    known = words() | {
        unquoted(first or second)
        for first, second in re.findall(
            r"'((?:[^'\\]|\\.)*)':|\"([^\"]*)\":", (source / "zh.js").read_text(encoding="utf-8")
        )
    }
    html = re.sub(
        r"<head>.*?</head>|<noscript>.*?</noscript>", "", (source / "index.html").read_text("utf-8"), flags=re.DOTALL
    )
    said = {text.strip() for text in re.findall(r">([^<>]+)<", html)} - {""}
    said |= {value for name in ("aria-label", "title", "alt") for value in re.findall(rf'\b{name}="([^"]+)"', html)}
    scripts = "".join((source / name).read_text("utf-8") for name in ("main.js", "files.js"))
    scripts += (PAGE / "parts.js").read_text("utf-8")
    said |= {unquoted(text) for text in re.findall(r"\b(?:t|FileError|lost\.add)\('((?:[^'\\]|\\.)*)'", scripts)}
    assert len(said) > 50
    assert said - ENGLISH_STAYS - known == set()
