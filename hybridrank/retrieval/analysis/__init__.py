"""Text -> terms: normalization, words, stems, stop words, and bigrams for scripts without spaces.

>>> from hybridrank.retrieval.analysis import analyzer
>>> analyzer("english").terms("The dogs' owner isn't recycling iPhone手机壳")
['dog', 'owner', 'recycl', 'iphon', '手机', '机壳']
"""

from hybridrank.retrieval.analysis.language_analyzer import Analyzer, analyzer
from hybridrank.retrieval.analysis.languages import LANGUAGES, Language

__all__ = ["LANGUAGES", "Analyzer", "Language", "analyzer"]
