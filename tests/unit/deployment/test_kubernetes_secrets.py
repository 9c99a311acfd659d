"""k8s/make-secrets: what it draws, keeps, and never lets into a commit."""

import subprocess
from pathlib import Path

from tests.fixtures.manifests import OVERLAYS, copy_of_k8s, make_secrets, needs_kubectl


@needs_kubectl
def test_without_secrets_an_overlay_says_which_file_is_missing(tmp_path: Path) -> None:
    folder = copy_of_k8s(tmp_path) / "overlays" / "local"
    refused = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert ".env" in refused.stderr


def test_the_secrets_of_the_local_overlay_fit_together_and_are_never_the_same(tmp_path: Path) -> None:
    drawn = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        k8s = copy_of_k8s(tmp_path / name)
        make_secrets(k8s, "local")
        drawn.append({path.name: read_env(path) for path in (k8s / "overlays" / "local").glob("*.env")})
    first, second = drawn
    assert all(first[file][key] != second[file][key] for file in first for key in first[file])
    assert f":{first['servers.env']['POSTGRES_PASSWORD']}@postgres:5432/" in first["clients.env"]["DATABASE_URL"]
    assert f":{first['servers.env']['REDIS_PASSWORD']}@redis:6379/" in first["clients.env"]["REDIS_URL"]
    assert first["servers.env"]["MINIO_ROOT_PASSWORD"] == first["clients.env"]["S3_SECRET_KEY"]
    assert first["first-key.env"]["SEGSMITH_FIRST_API_KEY"].startswith("sgs_")
    assert len(first["first-key.env"]["SEGSMITH_FIRST_API_KEY"]) >= 40


def test_making_secrets_again_keeps_those_that_are_there_and_nobody_else_may_read_them(tmp_path: Path) -> None:
    k8s = copy_of_k8s(tmp_path)
    make_secrets(k8s, "local")
    before = {path: path.read_text() for path in k8s.rglob("*.env")}
    (k8s / "overlays" / "local" / "clients.env").unlink()  # made again from the passwords that the servers have
    again = make_secrets(k8s, "local")
    assert again.returncode == 0
    assert {path: path.read_text() for path in k8s.rglob("*.env")} == before
    assert {path.stat().st_mode & 0o777 for path in before} == {0o600}


def test_secrets_of_an_overlay_that_is_none_are_refused(tmp_path: Path) -> None:
    refused = make_secrets(copy_of_k8s(tmp_path), "cloud")
    assert (refused.returncode, refused.stderr) == (1, "usage: k8s/make-secrets local|gpu|keda\n")


def test_git_takes_up_no_secret(tmp_path: Path) -> None:
    k8s = copy_of_k8s(tmp_path)
    for overlay in OVERLAYS:
        make_secrets(k8s, overlay)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    command = ["git", "-C", str(tmp_path), "ls-files", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert "k8s/overlays/gpu/clients.env.example" in listed
    assert not [name for name in listed if name.endswith(".env")]


def read_env(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())
