from setuptools import find_packages, setup

FOLDERS = ("cli", "core", "formats", "proto", "workflows")
INCLUDE = [pattern for folder in FOLDERS for pattern in (folder, f"{folder}.*")]

# The folders stand at the top of the repository and install as subpackages of `secateur`.
setup(packages=["secateur", *(f"secateur.{name}" for name in find_packages(include=INCLUDE))])
