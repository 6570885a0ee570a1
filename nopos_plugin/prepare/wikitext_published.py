"""WikiText as it was published: where it is, what its files and texts are (Merity et al., 2016).

Tokens are words and one `</s>` a line, blank lines included. The raw releases have as many as the
word-level ones, which have `<unk>` for each rare word.
"""

from typing import NamedTuple

SPLITS = ("train", "valid", "test")
ZIPS = "https://wikitext.smerity.com"
# of the Hugging Face dataset; the hashes of its files below are those of this revision
PARQUETS = (
    "https://huggingface.co/datasets/Salesforce/wikitext/resolve/"
    "b08601e04326c79dfdd32d625aee71d232d685c3"
)


class Text(NamedTuple):
    """Of one split. types: different words of the training text, `<unk>` among them.

    The published sizes of the vocabularies, 33,278 and 267,735, count the end of a line too: the
    text of WikiText-2 has 33,277, and Transformer-XL's vocabulary of 267,735 is the words of
    WikiText-103 and `<eos>`. fairseq's dictionary has them, its own <s>, <pad> and </s> (`<unk>` is
    one of its own four), and is padded to a multiple of 8: 33,280 and 267,744.
    """

    lines: int
    tokens: int
    types: int | None = None
    sha256: str | None = None


class Release(NamedTuple):
    """zip: sha256 of NAME-v1.zip. parquet: {split: sha256 of each file}. None: not known."""

    zip: str
    parquet: dict[str, tuple[str | None, ...]]
    texts: dict[str, Text]


RAW_VALID = "204929b7ff9d6184953f867dedb860e40aa69c078fc1e54b3baaa8fb28511c4c"
RAW_TEST = "5f1bea067869d04849c0f975a2b29c4ff47d867f484f5010ea5e861eab246d91"
RAW_TEXTS = {
    "valid": Text(
        3_760,
        217_646,
        sha256="4cd0f6876d07a413aa911261ff6d363c72d757d47f0fdd6015702014c89cb9c7",
    ),
    "test": Text(
        4_358,
        245_569,
        sha256="173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08",
    ),
}
RELEASES = {
    "wikitext-103": Release(
        zip="242ba0f20b329cfdf1ccc61e9e9e5b59becf189db7f7a81cd2a0e2fc31539590",
        parquet={
            "train": (
                "c2ecca8c3250e79518e45d125f3a9a757d8014f6b2d8435c602be87c1f79ec3b",
                "720f2503551f33c25bb822aad74d699fee4d5331a7373d0c262f1bfb01354fcf",
            ),
            "valid": (None,),
            "test": ("abdfc9f83b1103b502924072460d4c92f277c9b49c313cef3e48cfcf7428e125",),
        },
        texts={
            "train": Text(1_801_350, 103_227_021, types=267_734),
            "valid": Text(
                3_760,
                217_646,
                sha256="9aee9f52d6e77de6c7751fc5e7c44287db3ec0eaf15477098acc6b93c1c4250b",
            ),
            "test": Text(
                4_358,
                245_569,
                sha256="56db52eb157b1ab5c89646eef70510c1eca6e12a3bfdb99f0d6b05b4eacb75b9",
            ),
        },
    ),
    "wikitext-103-raw": Release(
        zip="91c00ae287f0d699e18605c84afc9e45c192bc6b7797ff8837e5474655a33794",
        parquet={
            "train": (
                "74da360f23826045b3e6ac6375411fdb15f003030aa74f2596ed08b857cb9212",
                "ba090ac30dbf5461e8dcbdd1a1b8e6f3cf9c2c756d64f0c1220450acd514f720",
            ),
            "valid": (RAW_VALID,),
            "test": (RAW_TEST,),
        },
        texts={"train": Text(1_801_350, 103_227_021), **RAW_TEXTS},
    ),
    "wikitext-2": Release(
        zip="92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c",
        parquet={
            "train": ("dfc27e4360c639dc1fba1e403bfffd53af4a5c75d5363b5724d49bf12d07cce6",),
            "valid": ("717de9a0c1c0b0b1dfdd8f1e6ad8a30ece618bbde81f5da8207277547d324215",),
            "test": ("e6b3913da714b63a60a571698b20ff15441fb015783ea1b5285f707d4f2f00a9",),
        },
        texts={
            "train": Text(
                36_718,
                2_088_628,
                types=33_277,
                sha256="9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f",
            ),
            "valid": Text(
                3_760,
                217_646,
                sha256="f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
            ),
            "test": Text(
                4_358,
                245_569,
                sha256="d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
            ),
        },
    ),
    "wikitext-2-raw": Release(
        zip="ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11",
        parquet={
            "train": ("e83889baabc497075506f91975be5fac0d45c5290b6b20582c8cd1e853d0c9f7",),
            "valid": (RAW_VALID,),
            "test": (RAW_TEST,),
        },
        texts={"train": Text(36_718, 2_088_628), **RAW_TEXTS},
    ),
}
