"""docs/kubernetes.md against the manifests: a file that it names is there, or is one that make-secrets writes."""

import re
from pathlib import Path

from tests.fixtures.manifests import K8S, OVERLAYS, copy_of_k8s, make_secrets

PAGE = K8S.parent / "docs" / "kubernetes.md"


def test_every_file_that_the_page_names_is_there_or_is_written(tmp_path: Path) -> None:
    k8s = copy_of_k8s(tmp_path)
    for overlay in OVERLAYS:
        make_secrets(k8s, overlay)
    names = set(re.findall(r"\bk8s/[\w./-]+\w", PAGE.read_text()))
    assert len(names) > 8
    assert [name for name in sorted(names) if not (tmp_path / name).exists()] == []
