"""What programs and libraries that are handed in need of the machine that runs them."""

import math
import re

from common.errors import UserError
from utils.runlog import log

FLOOR = {"GLIBC": "2.28", "GLIBCXX": "3.4.25", "CXXABI": "1.3.11"}  # of 2018, with the libstdc++ of GCC 8
# Of glibc, GCC and the kernel's own loader: every Linux that runs programs in C++ has them.
EVERYWHERE = {
    "ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1",
    "libstdc++.so.6",
}  # fmt: skip


def check_needs(headers):
    """Does all that is needed lie in the folder, or on every Linux with glibc 2.28? headers: {file: what `objdump -p` says of it}.

    UserError for a library that would be missing; versions that are newer are told.
    """
    there = EVERYWHERE | {name.rpartition("/")[2] for name in headers}
    for name, text in headers.items():
        missing = sorted(set(re.findall(r"^ +NEEDED +(\S+)$", text, re.MULTILINE)) - there)
        if missing:
            raise UserError(
                f"{name}: needs {', '.join(missing)}, which is not handed in. Build it again (make cpp) with the Debian packages "
                "that `make -s cpp-packages` names, whose static archives it takes the codecs from. Nothing was written."
            )
        newer = [f"{library}_{version}" for library, version in _versions(text) if _numbers(version) > _numbers(FLOOR[library])]
        if newer:
            log.warning(
                f"{name}: needs {', '.join(newer)}, but elsewhere there may be no more than glibc {FLOOR['GLIBC']} and the "
                "libstdc++ of GCC 8. Build it on Debian 12, or hand it in for systems as new as this one."
            )


def _versions(text):
    """(library, version) pairs of FLOOR's libraries, sorted."""
    return sorted(set(re.findall(rf" ({'|'.join(FLOOR)})_(\w[\w.]*)$", text, re.MULTILINE)))


def _numbers(version):
    """To compare; what is no number, such as GLIBC_ABI_DT_RELR of 2022, is newer than all."""
    parts = version.split(".")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else (math.inf,)
