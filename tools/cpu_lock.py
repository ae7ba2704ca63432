"""Print requirements.lock without torch, torchvision and their packages for a GPU; `make lock` calls it.

`tools/install.sh cpu` installs torch and torchvision, at the versions of requirements.lock, from PyTorch's own index,
because PyPI has no CPU builds for Linux; all other packages keep their hashes.
"""

import re
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"
LEFT_OUT = re.compile(r"(torch|torchvision|triton|nvidia-.*|cuda-.*)==")


def without_gpu(lock):
    """The text of a lock without the packages of LEFT_OUT and their hashes."""
    packages = re.split(r"\n(?=\S)", lock)
    return "\n".join(package for package in packages if not LEFT_OUT.match(package)).rstrip() + "\n"


if __name__ == "__main__":
    print(without_gpu(LOCK.read_text(encoding="utf-8")), end="")
