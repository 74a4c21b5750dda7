"""Counts the syllables of a written word, for English and German, and by vowel groups for other languages.

A syllable has one vowel sound, so letters are grouped into vowel sounds. The rules, with what they are for:

English (in the manner of the counters behind readability scores since Flesch, 1948)
- each group of a, e, i, o, u, y is one sound; y before a vowel at the start of a word is none (yes)
- a final e is silent (make), but not after consonant + l (ta-ble), nor alone (be)
- final -ed is silent (asked) unless after t or d (want-ed); final -es is silent (makes) unless after a hiss (hous-es)
- i before a, o, u splits (ra-di-o), but not in -tion, -cial, -sion, -gion, -llion; i before -ent, -ence, -et splits
  (au-di-ence, di-et), but not in -tient, -cient
- u before -al, -ous, -ity splits (ac-tu-al), e before o (vid-e-o), any vowel before -ing (do-ing)
- a few of the commonest words that break these rules are listed

German (after Duden's division of words)
- ei, ai, ey, ay, au, eu, äu, ie, aa, ee, oo are one sound; every other vowel letter is its own (The-a-ter)
- u after q is none, i in -tio- and -sio- is none (Na-tion); -lie, -nie, -rien at the end are two (Fa-mi-li-e)

Digits are spelled out. A character of Chinese, Japanese or Korean script counts as one syllable.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_PIECES: Final = re.compile(r"\d+|[^\W\d_]+(?:['’][^\W\d_]+)*")
_EAST_ASIAN: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")

_EN_GROUPS: Final = re.compile(r"[aeiouy]+")
_EN_SPLITS: Final = re.compile(
    r"(?<![tcsgx])(?<!ll)i(?=[aou])"  # ra-di-o, li-on, but na-tion, spe-cial, re-li-gion, mil-lion
    r"|(?<=g)i(?=a)"  # gi-ant
    r"|(?<![tc])i(?=en[tc])|(?<=sc)i(?=en)|i(?=et)"  # au-di-ence, sci-ence, so-ci-e-ty, but pa-tient
    r"|(?<![qg])u(?=al|ou|ity)"  # ac-tu-al, con-tin-u-ous
    r"|(?<![pg])e(?=o(?!u))|e(?=um)"  # vid-e-o, mu-se-um, but peo-ple, George
    r"|o(?=e[mt])"  # po-em
    r"|(?<=[aeiouy])(?=ing)"  # do-ing, play-ing
    r"|(?<=cr)e(?=at)"  # cre-ate
)
_EN_COMPOUNDS: Final = (("some", "som"), ("every", "evry"), ("there", "ther"), ("where", "wher"))
_EN_LISTED: Final = {
    "idea": 3, "ideas": 3, "area": 3, "areas": 3, "business": 2, "recipe": 3, "recipes": 3, "cafe": 2, "theatre": 3,
    "theater": 3, "favorite": 3, "chocolate": 3, "being": 2, "our": 1, "hour": 1, "one": 1, "everyone": 3,
}  # fmt: skip
_DE_SOUNDS: Final = re.compile(r"e(?=um$)|äu|eu|au|ei|ai|ey|ay|ie|aa|ee|oo|[aeiouyäöüáàâéèêíìîóòôúùû]")
_OTHER_GROUPS: Final = re.compile(r"[aeiouyæœøıаеёиоуыэюяіїєαεηιουω]+")

_DIGITS: Final = {
    "en": (2, 1, 1, 1, 1, 1, 1, 2, 1, 1),  # zero one two three four five six seven eight nine
    "de": (1, 1, 1, 1, 1, 1, 1, 2, 1, 1),  # null eins zwei drei vier fünf sechs sieben acht neun
}
_TEENS: Final = {"en": (1, 3, 1, 2, 2, 2, 2, 3, 2, 2), "de": (1, 1, 1, 2, 2, 2, 2, 2, 2, 2)}  # 10 to 19
_TENS: Final = {"en": 2, "de": 2}  # twenty, zwanzig; "seventy" has one more in English
_HUNDRED: Final = {"en": 2, "de": 2}
_THOUSAND: Final = {"en": 2, "de": 2}


def syllables(text: str, language: str) -> int:
    """Syllables of a word or a text; 0 for one without letters and digits.

    Args:
        text: with or without punctuation.
        language: ISO 639-1; ``en`` and ``de`` have rules of their own.
    """
    return sum(_piece(piece, language) for piece in _PIECES.findall(unicodedata.normalize("NFC", text).lower()))


def _piece(piece: str, language: str) -> int:
    if piece.isdigit():
        return _number(piece, language)
    characters = len(_EAST_ASIAN.findall(piece))
    if characters:
        return characters
    if language == "en":
        return _english(piece)
    if language == "de":
        return max(1, _german(piece))
    return max(1, len(_OTHER_GROUPS.findall(_without_accents(piece))))


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _english(word: str) -> int:
    plain = _without_accents(word.replace("’", "'"))
    # "n't" adds a syllable after a consonant (did-n't, is-n't), but not in don't, can't, won't, aren't.
    extra = 1 if re.search(r"[dsl]n't$", plain) else 0
    stem = re.sub(r"(?:n't|'\w*)$", "", plain) or plain
    if stem in _EN_LISTED:
        return _EN_LISTED[stem] + extra
    for begin, shorter in _EN_COMPOUNDS:
        if stem.startswith(begin):
            stem = shorter + stem[len(begin) :]
    stem = _without_silent_end(re.sub(r"^y(?=[aeiou])", "j", stem))
    return max(1, len(_EN_GROUPS.findall(stem)) + len(_EN_SPLITS.findall(stem))) + extra


def _without_silent_end(stem: str) -> str:
    """An English word less a final -e, -ed or -es whose e is silent."""
    for ending, is_silent in (
        ("e", r"[^aeiouy]e$"),
        ("ed", r"(?<![^aeiouy]r)(?<![td])(?<![aeiouy])ed$|[aeiouy]ed$"),
        ("es", r"(?<![csxzg])(?<![cs]h)(?<![aeiouy])es$"),
    ):
        rest = stem[: -len(ending)]
        # ta-ble, ta-bles, han-dled: after consonant + l the e is heard.
        is_heard = re.search(rf"[^aeiouylr]l{ending}$", stem)
        if stem.endswith(ending) and re.search(is_silent, stem) and not is_heard and _EN_GROUPS.search(rest):
            return rest
    return stem


def _german(word: str) -> int:
    count = 0
    for match in _DE_SOUNDS.finditer(word):
        sound, start = match.group(), match.start()
        after_q = sound == "u" and word[start - 1 : start] == "q"
        in_tion = sound == "i" and start > 0 and word[start - 1] in "ts" and word[start + 1 : start + 2] == "o"
        count += not (after_q or in_tion)
    return count + (1 if count >= 2 and re.search(r"(?:[ln]ien?|rien)$", word) else 0)


def _number(digits: str, language: str) -> int:
    spoken = language if language in _DIGITS else "en"
    value = int(digits)
    if len(digits) > 6 or (digits.startswith("0") and len(digits) > 1):
        return sum(_DIGITS[spoken][int(digit)] for digit in digits)
    return _below_million(value, spoken) if value else _DIGITS[spoken][0]


def _below_million(value: int, language: str) -> int:
    if value >= 1000:
        return _below_million(value // 1000, language) + _THOUSAND[language] + _below_million(value % 1000, language)
    if value >= 100:
        return _DIGITS[language][value // 100] + _HUNDRED[language] + _below_million(value % 100, language)
    if value >= 20:
        tens, ones = divmod(value, 10)
        joined = 1 if language == "de" and ones else 0  # ein-UND-zwanzig
        seventy = 1 if language == "en" and tens == 7 else 0
        return _TENS[language] + seventy + joined + (_DIGITS[language][ones] if ones else 0)
    if value >= 10:
        return _TEENS[language][value - 10]
    return _DIGITS[language][value] if value else 0
