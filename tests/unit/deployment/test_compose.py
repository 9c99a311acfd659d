"""What a hospital's reviewer reads in the compose files, held to on every change; no Docker needed."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from segsmith_api.prepare import FirstKey
from segsmith_shared.settings import Settings

ROOT = Path(__file__).parents[3]
Service = dict[str, Any]
EXACT_VERSION = re.compile(r":(\$\{SEGSMITH_VERSION:-)?(RELEASE\.)?v?\d+[\w.-]*\d[\w.-]*\}*$")
OWN_SECRETS = ("PASSWORD", "SECRET", "API_KEY", "ACCESS_KEY")
OF_COMMANDS = {"COMPOSE_FILE", "SSL_CERT_FILE", "SEGSMITH_URL", "SEGSMITH_API_KEY"}
"""Variables that compose itself, the `segsmith` command and `make smoke` read."""
RUN_ONCE = {"prepare", "s3-volume"}
"""These end by themselves: nothing to probe."""


def services_of(name: str) -> dict[str, Service]:
    document: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    services: dict[str, Service] = document["services"]
    return services


SERVICES = services_of("docker-compose.yml")


def not_root(service: Service) -> bool:
    return re.fullmatch(r"[1-9]\d*:\d+", service.get("user", "")) is not None


def root_folder_is_read_only(service: Service) -> bool:
    return service.get("read_only") is True


def has_no_capability(service: Service) -> bool:
    return service.get("cap_drop") == ["ALL"] and not service.get("cap_add") and not service.get("privileged")


def gains_no_privileges(service: Service) -> bool:
    return "no-new-privileges:true" in service.get("security_opt", [])


def image_has_an_exact_version(service: Service) -> bool:
    return EXACT_VERSION.search(_default(service["image"])) is not None


def has_limits_and_reservations(service: Service) -> bool:
    resources = service.get("deploy", {}).get("resources", {})
    return {"cpus", "memory", "pids"} <= set(resources.get("limits", {})) and "memory" in resources.get(
        "reservations", {}
    )


def keeps_its_logs_small(service: Service) -> bool:
    return "max-size" in service.get("logging", {}).get("options", {})


def holds_no_secret(service: Service) -> bool:
    """Every value whose name sounds secret, and the password in every URL, comes from the environment of compose."""
    values = service.get("environment", {})
    named = [str(values[name]) for name in values if name.endswith(OWN_SECRETS) or name == "REDISCLI_AUTH"]
    in_urls = [match for value in values.values() for match in re.findall(r"://[^:@/]*:(.*)@", str(value))]
    return all(re.fullmatch(r"\$\{\w+:\?[^}]+\}", value) for value in [*named, *in_urls])


REQUIREMENTS: tuple[tuple[Callable[[Service], bool], Service], ...] = (
    (not_root, {"user": "0:0"}),
    (root_folder_is_read_only, {"read_only": False}),
    (has_no_capability, {"cap_add": ["NET_ADMIN"]}),
    (gains_no_privileges, {"security_opt": []}),
    (image_has_an_exact_version, {"image": "redis:latest"}),
    (has_limits_and_reservations, {"deploy": {"resources": {"limits": {"memory": "1g"}}}}),
    (keeps_its_logs_small, {"logging": {"driver": "json-file"}}),
    (holds_no_secret, {"environment": {"DATABASE_URL": "postgresql+psycopg://segsmith:hunter2@postgres/segsmith"}}),
)


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("requirement", [each for each, _ in REQUIREMENTS], ids=lambda each: each.__name__)
def test_every_service_is_hardened(name: str, requirement: Callable[[Service], bool]) -> None:
    assert requirement(SERVICES[name])


@pytest.mark.parametrize(("requirement", "spoilt"), REQUIREMENTS, ids=lambda each: getattr(each, "__name__", ""))
def test_a_spoilt_service_is_noticed(requirement: Callable[[Service], bool], spoilt: Service) -> None:
    assert not requirement(copy.deepcopy(SERVICES["api"]) | spoilt)


@pytest.mark.parametrize("image", ["redis", "redis:latest", "redis:7", "segsmith-api:${SEGSMITH_VERSION:-latest}"])
def test_an_image_without_an_exact_version_is_noticed(image: str) -> None:
    assert not image_has_an_exact_version({"image": image})


def test_every_service_that_stays_is_probed_and_told_when_to_start() -> None:
    for name, service in SERVICES.items():
        if name in RUN_ONCE:
            assert service["healthcheck"] == {"disable": True}
        elif name == "api":
            assert "\nHEALTHCHECK " in _dockerfile(name)
        else:
            assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    for name in ("api", "caretaker", "worker-gpu", "evaluator"):
        assert SERVICES[name]["depends_on"]["prepare"] == {"condition": "service_completed_successfully"}
    assert {each["condition"] for each in SERVICES["prepare"]["depends_on"].values()} == {"service_healthy"}


def test_only_the_api_is_published_and_to_this_machine_alone() -> None:
    without_profiles = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert {name for name in without_profiles if "ports" in SERVICES[name]} == {"api"}
    assert SERVICES["api"]["ports"] == ["${SEGSMITH_BIND:-127.0.0.1}:${SEGSMITH_PORT:-8000}:8000"]
    assert SERVICES["grafana"]["ports"][0].startswith("127.0.0.1:")


def test_servers_and_workers_reach_nothing_outside() -> None:
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert document["networks"]["servers"] == {"internal": True}
    for name in ("postgres", "redis", "s3", "prepare", "caretaker", "worker-gpu", "evaluator"):
        assert SERVICES[name]["networks"] == ["servers"]


def test_the_broker_asks_for_a_password_and_never_evicts() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--requirepass" in command
    assert "noeviction" in command


def test_every_variable_of_ours_is_one_that_a_service_reads() -> None:
    read = {name.upper() for name in Settings.model_fields} | {"LOG_LEVEL", "SEGSMITH_HOST", "SEGSMITH_PORT"}
    read |= {f"SEGSMITH_{name.upper()}" for name in FirstKey.model_fields}
    for name in ("prepare", "api", "caretaker", "worker-gpu", "evaluator"):
        assert set(SERVICES[name]["environment"]) <= read


def test_a_worker_has_the_time_that_it_may_take_to_stop() -> None:
    for name in ("worker-gpu", "evaluator"):
        grace_seconds = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        assert grace_seconds > Settings.model_fields["stop_grace_seconds"].default


def test_the_gpu_file_hands_nvidia_devices_to_the_worker_and_changes_nothing_else() -> None:
    override = services_of("docker-compose.gpu.yml")
    assert set(override) == {"worker-gpu"}
    (device,) = override["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_another_s3_server_loosens_nothing() -> None:
    override = services_of("compose/s3-rclone.yml")
    assert set(override) == {"s3"}
    assert set(override["s3"]) == {"image", "entrypoint", "command", "environment", "healthcheck"}
    together = SERVICES["s3"] | override["s3"]
    assert all(requirement(together) for requirement, _ in REQUIREMENTS if requirement is not holds_no_secret)
    assert re.fullmatch(r'"\$\{\w+:\?[^}]+\},\$\{\w+:\?[^}]+\}"', override["s3"]["environment"]["RCLONE_AUTH_KEY"])


def test_the_page_on_compose_names_only_what_there_is() -> None:
    page = (ROOT / "docs" / "compose.md").read_text()
    files = "".join(
        (ROOT / name).read_text() for name in ("docker-compose.yml", "docker-compose.gpu.yml", "compose/make-env")
    )
    files += "".join(_dockerfile(name) for name in ("api", "worker-gpu", "evaluator"))
    named = set(re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z_]+\b", page))
    assert {name for name in named if name not in files} == OF_COMMANDS
    for name in re.findall(r"(?<![\w/])(?:compose|tests|shared)/[\w./-]+\.(?:yml|py)", page):
        assert (ROOT / name).is_file(), name
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert (
        yaml.safe_load(example.replace("!override", ""))["services"]["worker-gpu-1"]["extends"]["service"] in SERVICES
    )


@pytest.mark.parametrize("service", ["api", "worker-gpu", "evaluator"])
def test_images_are_built_from_exact_versions_and_end_without_root(service: str) -> None:
    text = _dockerfile(service)
    bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) - set(re.findall(r" AS (\S+)$", text, re.MULTILINE))
    assert bases == {"${PYTHON_IMAGE}"}
    base = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", text, re.MULTILINE)
    assert base
    assert image_has_an_exact_version({"image": base[1]})
    final = text.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)$", final, re.MULTILINE) == ["10001:10001"]
    assert "--require-hashes" in text + (ROOT / "requirements" / "install-torch").read_text()
    assert not re.search(r"https?://", text)


def test_worker_and_evaluator_share_the_layer_of_torch() -> None:
    texts = [_dockerfile(name) for name in ("worker-gpu", "evaluator")]
    stages = [text.partition("# What worker-gpu")[2].partition("FROM torch AS build")[0] for text in texts]
    assert stages[0] == stages[1] != ""


def test_pinned_lists_agree_about_every_package() -> None:
    """Some packages have a version for old Pythons and one for new: then every list that has it has both."""
    pins: dict[str, set[frozenset[str]]] = {}
    for path in (ROOT / "requirements").glob("*.txt"):
        of_list: dict[str, set[str]] = {}
        for name, version in re.findall(r"^([a-zA-Z0-9_.-]+)==([^ ;\\]+)", path.read_text(), re.MULTILINE):
            of_list.setdefault(name, set()).add(version)
        for name, versions in of_list.items():
            pins.setdefault(name, set()).add(frozenset(versions))
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}


def _dockerfile(service: str) -> str:
    return (ROOT / "services" / service / "Dockerfile").read_text()


def _default(image: str) -> str:
    """What an image is called where nobody says otherwise."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", image) if not image.endswith("0}") else image
