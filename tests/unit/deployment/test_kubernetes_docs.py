"""docs/kubernetes.md against the manifests: a file that it names is one that is there, or that make-secrets writes."""

import re

import pytest

from tests.fixtures.manifests import K8S

PAGE = (K8S.parent / "docs" / "kubernetes.md").read_text()
FILES = sorted(set(re.findall(r"\bk8s/[\w./-]+[\w]", PAGE)))


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith(".env")])
def test_a_file_that_the_page_names_is_there(name: str) -> None:
    assert (K8S.parent / name).exists()
