"""The numbers of the VP8 standard (RFC 6386) that key frames need, and what bits cost by them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "AC_STEPS",
    "BANDS",
    "BIT_COSTS",
    "CATEGORY_BASES",
    "CATEGORY_BITS",
    "CATEGORY_PROBABILITIES",
    "CHROMA_TREE",
    "COEFFICIENT_PROBABILITIES",
    "DC_STEPS",
    "FINE_PROBABILITIES",
    "FINE_TREE",
    "MODES",
    "SQUARE_TREE",
    "TOKEN_TREE",
    "UPDATE_PROBABILITIES",
    "ZIGZAG",
]

Probabilities = npt.NDArray[np.int64]

# Section 14.1: the steps of coefficients by quantiser index.
AC_STEPS = np.concatenate(
    [
        np.arange(4, 58),
        np.arange(58, 116, 2),
        np.arange(116, 173, 3),
        np.arange(173, 229, 4),
        [229, 234, 239, 245, 249, 254, 259, 264, 269, 274, 279, 284],
    ]
)
DC_STEPS = np.concatenate(
    [
        [4, 5, 6, 7, 8, 9, 10, 10, 11, 12, 13, 14, 15, 16, 17, 17, 18, 19, 20, 20, 21, 21, 22, 22, 23, 23, 24, 25, 25],
        np.arange(26, 38),
        np.arange(37, 47),
        np.arange(46, 77),
        np.arange(76, 90),
        [91, 93, 95, 96, 98, 100, 101, 102],
        np.arange(104, 119, 2),
        np.arange(122, 141, 2),
        [143, 145, 148, 151, 154, 157],
    ]
)

# Section 13.2: where the coefficients of a block stand, row-major, in the order of the file.
ZIGZAG = np.array([0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15])

# Section 13.3: the band of each place, and of the one after the last.
BANDS = np.array([0, 1, 2, 3, 6, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 0])

# Section 13.2: the smallest level of each category of larger ones, and the probabilities of its extra bits.
CATEGORY_BASES = np.array([5, 7, 11, 19, 35, 67])
CATEGORY_BITS = np.array([1, 2, 3, 4, 5, 11])
CATEGORY_PROBABILITIES = np.zeros((6, 11), np.int64)
for _category, _probabilities in enumerate(
    (
        [159],
        [165, 145],
        [173, 148, 140],
        [176, 155, 140, 135],
        [180, 157, 141, 134, 130],
        [254, 254, 243, 230, 196, 177, 153, 140, 133, 130, 129],
    )
):
    CATEGORY_PROBABILITIES[_category, : len(_probabilities)] = _probabilities


def _numbers(digits: str, *shape: int) -> Probabilities:
    return np.frombuffer(bytes.fromhex(digits), np.uint8).reshape(shape).astype(np.int64)


# Section 13.2: the places in the tree of tokens and bits taken there, -1 after the last, of 0, 1, 2, 3, 4 and the six
# categories; whether the block ends before the token, place 0, is left out.
TOKEN_TREE = np.full((11, 6, 2), -1)
for _token, _way in enumerate(
    (
        [(1, 0)],
        [(1, 1), (2, 0)],
        [(1, 1), (2, 1), (3, 0), (4, 0)],
        [(1, 1), (2, 1), (3, 0), (4, 1), (5, 0)],
        [(1, 1), (2, 1), (3, 0), (4, 1), (5, 1)],
        [(1, 1), (2, 1), (3, 1), (6, 0), (7, 0)],
        [(1, 1), (2, 1), (3, 1), (6, 0), (7, 1)],
        [(1, 1), (2, 1), (3, 1), (6, 1), (8, 0), (9, 0)],
        [(1, 1), (2, 1), (3, 1), (6, 1), (8, 0), (9, 1)],
        [(1, 1), (2, 1), (3, 1), (6, 1), (8, 1), (10, 0)],
        [(1, 1), (2, 1), (3, 1), (6, 1), (8, 1), (10, 1)],
    )
):
    TOKEN_TREE[_token, : len(_way)] = _way

# Section 13.5: by type of block, band, context, and place in the tree of tokens.
COEFFICIENT_PROBABILITIES = _numbers(
    "808080808080808080808080808080808080808080808080808080808080808080fd88feffe4db8080808080bd81f2ffe3d5ffdb808080"
    "6a7ee3fcd6d1ffff8080800162f8ffece2ffff808080b585eefeddeaff9a8080804e86caf7c6b4ffdb80808001b9f9fff3ff8080808080"
    "b896f7ffece080808080804d6ed8ffece680808080800165fbfff1ff8080808080aa8bf1fcecd1ffff8080802574c4f3e4ffffff808080"
    "01ccfefff5ff8080808080cfa0faffee8080808080806667e7ffd3ab80808080800198fcfff0ff8080808080b187f3ffeae18080808080"
    "5081d3ffc2e080808080800101ff8080808080808080f601ff8080808080808080ff80808080808080808080c623eddfc1bba2a0919b3e"
    "832dc6ddacb0dc9dfcdd01442f92d095a7dda2ffdf800195f1ffdde0ffff808080b88deafddedcffc78080805163b5f2b0bef9caffff80"
    "0181e8fdd6c5f2c4ffff806379d2fac9c6ffca808080175ba3f2aabbf7d2ffff8001c8f6ffeaff80808080806db2f1ffe7f5ffff808080"
    "2c82c9fdcdc0ffff8080800184effbdbd1ffa58080805e88e1fbdabeffff8080801664aef5baa1ffc780808001b6f9ffe8eb8080808080"
    "7c8ff1ffe3ea8080808080234db5fbc1d3ffcd808080019df7ffece7ffff808080798debffe1e3ffff8080802d63bcfbc3d9ffe0808080"
    "0101fbffd5ff8080808080cb01f8ffff8080808080808901b1ffe0ff8080808080fd09f8fbcfd0ffc0808080af0de0f3c1b9f9c6ffff80"
    "4911abdda1b3eca7ffea80015ff7fdd4b7ffff808080ef5af4fad3d1ffff8080809b4dc3f8bcc3ffff8080800118effbdadbffcd808080"
    "c933dbffc4ba8080808080452ebeefc9daffe480808001bffbffff808080808080dfa5f9ffd5ff80808080808d7cf8ffff808080808080"
    "0110f8ffff808080808080be24e6ffecff80808080809501ff808080808080808001e2ff8080808080808080f7c0ff8080808080808080"
    "f080ff80808080808080800186fcffff808080808080d53efaffff808080808080375dff80808080808080808080808080808080808080"
    "80808080808080808080808080808080808080808080ca18d5ebbabfdca0f0afff7e26b6e8a9b8e4aeffbb803d2e8adb97b2f0aaffd880"
    "0170e6fac7bff79fffff80a66de4fcd3d7ffae808080274da2e8acb4f5b2ffff800134dcf6c6c7f9dcffff807c4abff3b7c1faddffff80"
    "184782db9aaaf3b6ffff8001b6e1f9dbf0ffe08080809596e2fcd8cdffab8080801c6caaf2b7c2fedfffff800151e6fccccbffc0808080"
    "7b66d1f7bcc4ffe9808080145f99f3a4adffcb80808001def8ffd8d58080808080a8aff6fcebcdffff8080802f74d7ffd3d4ffff808080"
    "0179ecfdd4d6ffff8080808d54d5fcc9caffdb8080802a50a0f0a2b9ffcd8080800101ff8080808080808080f401ff8080808080808080"
    "ee01ff8080808080808080",
    4,
    8,
    3,
    11,
)  # fmt: skip

# Section 13.4: that such a probability stays as it is.
UPDATE_PROBABILITIES = _numbers(
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffb0f6ffffffffffffffffffdff1fcffffffffffffffff"
    "f9fdfdfffffffffffffffffff4fcffffffffffffffffeafefefffffffffffffffffdfffffffffffffffffffffff6feffffffffffffffff"
    "effdfefffffffffffffffffefffefffffffffffffffffff8fefffffffffffffffffbfffeffffffffffffffffffffffffffffffffffffff"
    "fffdfefffffffffffffffffbfefefffffffffffffffffefffefffffffffffffffffffefdfffefffffffffffffafffefffeffffffffffff"
    "feffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffd9ffffffffffffffffffff"
    "e1fcf1fdfffffeffffffffeafaf1fafdfffdfefffffffffeffffffffffffffffffdffefeffffffffffffffffeefdfefeffffffffffffff"
    "fff8fefffffffffffffffff9fefffffffffffffffffffffffffffffffffffffffffffdfffffffffffffffffff7feffffffffffffffffff"
    "fffffffffffffffffffffffffdfefffffffffffffffffcfffffffffffffffffffffffffffffffffffffffffffffefeffffffffffffffff"
    "fdfffffffffffffffffffffffffffffffffffffffffffffefdfffffffffffffffffafffffffffffffffffffffeffffffffffffffffffff"
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffbafbfaffffffffffffffffeafbf4feffffffffffffff"
    "fbfbf3fdfefffefffffffffffdfeffffffffffffffffecfdfefffffffffffffffffbfdfdfefefffffffffffffffefeffffffffffffffff"
    "fefefefffffffffffffffffffffffffffffffffffffffffefffffffffffffffffffefefffffffffffffffffffeffffffffffffffffffff"
    "fffffffffffffffffffffffeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
    "fffffffffffffffffffffffffffffffffffffffffffff8fffffffffffffffffffffafefcfefffffffffffffff8fef9fdffffffffffffff"
    "fffdfdfffffffffffffffff6fdfdfffffffffffffffffcfefbfefefffffffffffffffefcfffffffffffffffff8fefdffffffffffffffff"
    "fdfffefefffffffffffffffffbfefffffffffffffffff5fbfefffffffffffffffffdfdfefffffffffffffffffffbfdffffffffffffffff"
    "fcfdfefffffffffffffffffffefffffffffffffffffffffcfffffffffffffffffff9fffefffffffffffffffffffffeffffffffffffffff"
    "fffffdfffffffffffffffffafffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffffffffffffffff"
    "ffffffffffffffffffffff",
    4,
    8,
    3,
    11,
)  # fmt: skip

# Modes of 4x4 blocks, in the order of their tree: DC, TM, then vertical, horizontal, down right, vertical right, down
# left, vertical left, horizontal down and horizontal up. Those of whole macroblocks are the first four.
MODES = 10

# Section 11.5: by the mode above, the mode to the left, and the place in the tree of modes.
FINE_PROBABILITIES = _numbers(
    "e7783059737178987098b3407eaa762e465faf458f505552489b67383a0aabdabd110d98721a11a32cc3150aad791850c31a3e2c405590"
    "470a26abd590221aaa2e371388a021ce473f14087272d00c09e251280b60b6541d102486b7598962656aa59448bb64829d6f204b504266"
    "a7634a3e28ea80293509b2f18d1a086b4a2b1a9249a631179d412669a033341f7380684f0c1bd9ff5711075744472c72330fba172f290e"
    "6eb6b71511c2422d1966c5bd171216585893962a2e2dc4cd2b61b775552623b33d2735c8571a152be8ab3822336872661d5d4d271c55ab"
    "3aa55a6240221674ce17222ba6496b36201a3301512b1f44196a1640ab24e1722213156684bc104c7c3e124e5f5539323033c165239fd7"
    "6f592e6f3c941facdbe415126f70714d55b3ff267872282a01c4f5d10a196d582b1d8ca6d5252b9a3d3f1e9b432d4401d16450082b9a01"
    "331a478e4e4e10ff8022c5ab29280566d3b70401dd333211a8d1c01719528a1f24ab1ba6262ce543573aa952731a3bb33f3b5ab43ba65d"
    "499a282815748fd12227af2f0f10b722df312db72e1121b706620f20b7392e16188001361125412049731c801780cd2803097333c01206"
    "df572509733b4d40152f68372cda09363582e2405a46cd2829171a39363970b8052926a6d51e221a8598740a2086271335dd1a722049ff"
    "1f0941ea020f0176494b200c33c0ffa02b33581f2343665537ba553815176f3bcd2d25c03726467c49660122627d622a58685575af525f"
    "543559806471652d4b4f7b2f338051ab0139110547663935293126210d7939491a0155290a438a4d6e5a2f727315020a66ffa61706651d"
    "100a558065c41a39120a6666d522142b75140f24a38044011a663d472522351ff3c0453c472649771cde25442d8022012f0bf5ab3e1113"
    "469255373e46252b259a64a355a0013f095c881c4020c9554b0f090940ffb8771056061c0540ff19f8013808118489ff3774803a0f1452"
    "87391a7928a4321f899a851923da33672c83837b1f069e5628408794e02db780161a1183f09a0e01d12d10155b40de0701c53815279b3c"
    "8a1766d5530c0d36c0ff442f1c551a555580802092ab120b073f90ab0404f6231b0a92aeab0c1a80be502363b4507e362d557e2f57b033"
    "291420654b808b769274805538290fb0ec5525093e471e117776ff11128a65263c8a37462b1a8e9224131eabff611b148a2d3d3edb0151"
    "bc4020291475978e1415a370130c3dc380300418",
    MODES,
    MODES,
    MODES - 1,
)  # fmt: skip

# The way to each mode: places in the tree and bits taken there, -1 after the last.
FINE_TREE = np.full((MODES, 7, 2), -1)
for _mode, _way in enumerate(
    (
        [(0, 0)],
        [(0, 1), (1, 0)],
        [(0, 1), (1, 1), (2, 0)],
        [(0, 1), (1, 1), (2, 1), (3, 0), (4, 0)],
        [(0, 1), (1, 1), (2, 1), (3, 0), (4, 1), (5, 0)],
        [(0, 1), (1, 1), (2, 1), (3, 0), (4, 1), (5, 1)],
        [(0, 1), (1, 1), (2, 1), (3, 1), (6, 0)],
        [(0, 1), (1, 1), (2, 1), (3, 1), (6, 1), (7, 0)],
        [(0, 1), (1, 1), (2, 1), (3, 1), (6, 1), (7, 1), (8, 0)],
        [(0, 1), (1, 1), (2, 1), (3, 1), (6, 1), (7, 1), (8, 1)],
    )
):
    FINE_TREE[_mode, : len(_way)] = _way

# Section 11.2: probabilities and bits of the mode of a macroblock (DC, TM, vertical, horizontal), and of 4x4 blocks in
# its place; and of the mode of its chroma.
SQUARE_TREE = np.array(
    [
        [(145, 1), (156, 0), (163, 0)],
        [(145, 1), (156, 1), (128, 1)],
        [(145, 1), (156, 0), (163, 1)],
        [(145, 1), (156, 1), (128, 0)],
        [(145, 0), (-1, -1), (-1, -1)],
    ]
)
CHROMA_TREE = np.array(
    [
        [(142, 0), (-1, -1), (-1, -1)],
        [(142, 1), (114, 1), (183, 1)],
        [(142, 1), (114, 0), (-1, -1)],
        [(142, 1), (114, 1), (183, 0)],
    ]
)

BIT_COSTS = -np.log2(np.maximum(np.stack([np.arange(257), 256 - np.arange(257)], axis=1), 0.5) / 256)
"""float64 (257, 2): bits that a 0, or a 1, takes where the probability of 0 is so many 256ths."""
