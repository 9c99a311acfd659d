"""Every overlay of k8s/, as the cluster would get it, keeps every rule; and no rule is one that cannot fail."""

from collections.abc import Callable
from pathlib import Path

import pytest
from kubernetes_validate import ValidationError, validate

from tests.fixtures import pod_rules, wiring_rules
from tests.fixtures.manifests import (
    OVERLAYS,
    REMOVED,
    Manifest,
    Manifests,
    copy_of_k8s,
    kustomized,
    make_secrets,
    named,
    needs_kubectl,
    of_kind,
    pods,
    spoilt,
)
from tests.fixtures.spoilt_manifests import POD, SPOILT

pytestmark = needs_kubectl

Rule = Callable[[Manifests], list[str]]
KUBERNETES = ("1.27.0", "1.32.0", "1.37.0")
OF_KEDA = ("ScaledJob", "TriggerAuthentication")  # kinds that Kubernetes itself does not know
RULES: dict[str, Rule] = {
    name: rule
    for module in (pod_rules, wiring_rules)
    for name, rule in vars(module).items()
    if callable(rule) and getattr(rule, "__module__", "") == module.__name__ and name[0] != "_" and name != "variables"
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifests]:
    k8s = copy_of_k8s(tmp_path_factory.mktemp("rendered"))
    for overlay in OVERLAYS:
        assert make_secrets(k8s, overlay).returncode == 0
    return {overlay: kustomized(k8s / "overlays" / overlay) for overlay in OVERLAYS}


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("rule", RULES)
def test_every_overlay_keeps_every_rule(rendered: dict[str, Manifests], overlay: str, rule: str) -> None:
    assert RULES[rule](rendered[overlay]) == []


@pytest.mark.parametrize(
    ("overlay", "rule", "name", "path", "value"),
    SPOILT,
    ids=lambda value: "removed" if value is REMOVED else str(value)[:60],
)
def test_a_spoilt_manifest_is_refused(
    rendered: dict[str, Manifests], overlay: str, rule: str, name: str, path: str, value: object
) -> None:
    assert RULES[rule](spoilt(rendered[overlay], name, path, value))


def test_no_rule_is_one_that_cannot_fail() -> None:
    assert {rule for _, rule, *_ in SPOILT} == set(RULES)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_every_field(rendered: dict[str, Manifests], overlay: str, version: str) -> None:
    for manifest in rendered[overlay]:
        if manifest["kind"] not in OF_KEDA:
            validate(manifest, version, strict=True)
    for scaled in of_kind(rendered[overlay], "ScaledJob"):
        validate(job_that_keda_makes(scaled), version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_refused(rendered: dict[str, Manifests]) -> None:
    wrong = spoilt(rendered["gpu"], "Deployment/api", f"{POD} restartPolice", "Always")
    with pytest.raises(ValidationError, match="restartPolice"):
        validate(named(wrong, "Deployment/api"), KUBERNETES[0], strict=True)


@pytest.mark.parametrize("overlay", ["gpu", "keda"])
def test_a_gpu_worker_gets_one_device_and_memory_to_share(rendered: dict[str, Manifests], overlay: str) -> None:
    (pod,) = [pod for pod in pods(rendered[overlay]) if pod.name.endswith("/worker-gpu")]
    (container,) = pod.containers
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod.spec["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod.spec["tolerations"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume.get("emptyDir") for volume in pod.spec["volumes"]}
    assert volumes[mounts["/dev/shm"]] == {"medium": "Memory", "sizeLimit": "8Gi"}  # noqa: S108 - inside the container


def test_nothing_asks_for_a_device_on_a_cluster_without(rendered: dict[str, Manifests]) -> None:
    asked = [set(c["resources"]["limits"]) for pod in pods(rendered["local"]) for c in pod.containers]
    assert set.union(*asked) == set(pod_rules.RESOURCES)


@pytest.mark.parametrize("overlay", ["gpu", "keda"])
def test_a_slice_of_a_device_is_one_line_away(tmp_path: Path, overlay: str) -> None:
    k8s = copy_of_k8s(tmp_path)
    make_secrets(k8s, "keda")
    file = k8s / "overlays" / "gpu" / "kustomization.yaml"
    text = file.read_text()
    file.write_text(text.replace("# - ../../components/mig", "- ../../components/mig"))
    assert file.read_text() != text
    (pod,) = [pod for pod in pods(kustomized(k8s / "overlays" / overlay)) if pod.name.endswith("/worker-gpu")]
    limits = pod.containers[0]["resources"]["limits"]
    assert (limits["nvidia.com/mig-3g.40gb"], "nvidia.com/gpu" in limits) == ("1", False)


def test_kedas_workers_are_those_of_the_gpu_overlay_but_for_their_end(rendered: dict[str, Manifests]) -> None:
    (usual,) = [pod for pod in pods(rendered["gpu"]) if pod.name == "Deployment/worker-gpu"]
    (scaled,) = [pod for pod in pods(rendered["keda"]) if pod.name.endswith("/worker-gpu")]
    assert scaled.labels == usual.labels
    assert scaled.spec["restartPolicy"] == "Never"
    ending = {"name": "WORKER_UNTIL_EMPTY", "value": "true"}
    for pod in (usual, scaled):
        pod.spec["containers"][0].pop("readinessProbe", None)
        pod.spec.pop("restartPolicy", None)
    assert scaled.spec["containers"][0]["env"].pop() == ending
    assert scaled.spec == usual.spec


def job_that_keda_makes(scaled: Manifest) -> Manifest:
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": scaled["spec"]["jobTargetRef"]}
