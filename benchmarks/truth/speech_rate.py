"""Pace and syllables: counts against word lists divided by hand, rates against speech of known length."""

from __future__ import annotations

import numpy as np

from analyzers.methods.syllables import syllables
from analyzers.speech_rate import RateReport, SpeechRate
from analyzers.speech_transcription import SpeechReport, SpeechSegment, SpeechTranscription
from benchmarks.truth import Figure
from pipeline.analyzer import Profile
from pipeline.results import Upstream, VideoFacts
from pipeline.settings import load_settings
from tests.media import audio_clips

NAME = "speech_rate"
# Divided as Merriam-Webster and Duden divide them.
ENGLISH = (
    "and so my fel-low a-mer-i-cans ask not what your coun-try can do for you the make ta-ble lit-tle peo-ple asked "
    "want-ed played hous-es watch-es ra-di-o vid-e-o sci-ence au-di-ence so-ci-e-ty na-tion spe-cial re-li-gion "
    "ac-tu-al con-tin-u-ous do-ing play-ing cre-ate re-al-ly be-cause kitch-en beau-ti-ful wel-come to-day to-mor-row "
    "fam-i-ly in-ter-est-ing ques-tion mil-lion eve-ry-one some-thing time eyes used yes queen gui-tar lan-guage "
    "mu-sic hel-lo a-maz-ing prod-uct an-oth-er a-vail-a-ble don't did-n't mo-ment change chang-es be-ing pi-an-o "
    "pa-tient mov-ie cook-ies re-view blue di-et cli-ent va-ri-e-ty ex-pe-ri-ence free sim-ple pic-ture tem-per-a-ture "
    "min-utes hun-dred weath-er fol-low share com-ment be-fore af-ter sub-scribe chan-nel friends thing through"
)
GERMAN = (
    "und gu-ten tag herz-lich will-kom-men heu-te zei-ge ich euch mei-ne neu-e kü-che das wet-ter ist schön wir ge-hen "
    "spä-ter in den park the-a-ter fa-mi-li-e fe-ri-en quel-le häu-ser bau-en freu-de i-dee see zoo boot lie-be "
    "spie-len ra-di-o vi-de-o mu-se-um deutsch-land ös-ter-reich zei-tung ar-bei-ten uni-ver-si-tät ak-tu-ell "
    "ge-schich-te na-tür-lich frau freun-din bäu-me e-ner-gie zwei mu-sik kaf-fee be-ei-len ei-gent-lich ü-ber "
    "mög-lich stra-ße geht fol-gen tei-len kom-men-tar freun-de ein-fach al-le je-den mor-gen a-bend"
)


def right_share(divided: str, language: str) -> float:
    """Share of words whose syllables are counted right."""
    words = divided.split()
    # "uni-ver-si-tät" is written undivided before a single letter: u-ni-ver-si-tät has five.
    true = {word.replace("-", ""): word.count("-") + 1 for word in words} | {"universität": 5}
    return float(np.mean([syllables(word, language) == true[word] for word in true]))


def measure() -> list[Figure]:
    """Count the lists, and rate real speech and the same speech faster."""
    transcription = SpeechTranscription()
    transcription.load("cpu", Profile("embedded", load_settings().models_dir))
    facts = VideoFacts(source="jfk.wav", sha256="", bytes=0, duration_s=11)
    part = transcription.analyze(audio_clips.track(audio_clips.speech()))
    said: SpeechReport = transcription.summarize([part], Upstream(facts))
    rate = SpeechRate()
    rate.load("cpu", Profile("embedded", load_settings().models_dir))
    report: RateReport = rate.summarize([], Upstream(facts, {"speech_transcription": said}))
    # 22 words, 28 syllables, in the stretches read off the waveform.
    spoken_s = sum(end - start for start, end in audio_clips.JFK_SPOKEN)
    faster = rate.summarize([], Upstream(facts, {"speech_transcription": twice_as_fast(said)}))
    wpm, twice = report.summary.words_per_minute or 0, faster.summary.words_per_minute or 0
    spm = report.summary.syllables_per_minute or 0
    return [
        Figure(NAME, "English syllables, share of words right", right_share(ENGLISH, "en"), 0.95),
        Figure(NAME, "German syllables, share of words right", right_share(GERMAN, "de"), 0.95),
        Figure(NAME, "real speech, error of words per minute", abs(wpm / (22 / spoken_s * 60) - 1), 0.1, True),
        Figure(NAME, "real speech, error of syllables per minute", abs(spm / (28 / spoken_s * 60) - 1), 0.1, True),
        # Some pauses become breaths when halved, and then count as speaking.
        Figure(NAME, "the same twice as fast, error of the ratio", abs(twice / max(wpm, 1e-9) / 2 - 1), 0.15, True),
    ]


def twice_as_fast(report: SpeechReport) -> SpeechReport:
    """The same words in half the time."""

    def halved(segment: SpeechSegment) -> SpeechSegment:
        words = [word.model_copy(update={"start": word.start / 2, "end": word.end / 2}) for word in segment.words]
        return segment.model_copy(update={"start": segment.start / 2, "end": segment.end / 2, "words": words})

    return report.model_copy(update={"segments": [halved(segment) for segment in report.segments]})
