"""A plugin of Tutor: the LMS and Studio emit to dispatcher, whose relay, worker, Flower and collector run beside them.

docs/how-to/open-edx.md has the steps. Written for Tutor 22 (https://docs.tutor.edly.io/reference/api/hooks/index.html).
"""

from typing import Any

import yaml
from tutor import hooks

# Where the LMS, Studio, their workers and their jobs write, in a folder that all of them have in common and that nobody
# is served from. In Kubernetes each pod has one of its own.
OUTBOX = "/openedx/media-private/dispatcher"
# The user of Tutor's images, and that of ours.
PLATFORM_USER = 1000
OUR_USER = 10001

hooks.Filters.CONFIG_DEFAULTS.add_items(
    [
        # Built from docker/Dockerfile; for Kubernetes, its name in a registry.
        ("DISPATCHER_DOCKER_IMAGE", "dispatcher"),
        # What pip installs into the image of the platform, which is not built without it: a URL of Git or of a wheel.
        ("DISPATCHER_PIP_REQUIREMENT", ""),
        # By the names of their variables without DISPATCHER_: {"DESTINATIONS__SEGMENT__EVENTS": ["edx.course.*"]}
        ("DISPATCHER_SETTINGS", {}),
        # Without it nothing goes to Segment.
        ("DISPATCHER_SEGMENT_WRITE_KEY", ""),
        # Tutor's own Redis throws away what is old when it is full, so it must not keep events.
        ("DISPATCHER_RUN_REDIS", True),
        ("DISPATCHER_REDIS_URL", "redis://:{{ DISPATCHER_REDIS_PASSWORD }}@dispatcher-redis:6379/0"),
        # Takes /event and /segmentio/event off the LMS, and serves tracker.js.
        ("DISPATCHER_RUN_COLLECTOR", False),
        # Networks of the web proxy, whose X-Forwarded-For is believed.
        ("DISPATCHER_COLLECTOR_PROXIES", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]),
        # Of the dashboard on this machine; in Kubernetes the service listens on 5555.
        ("DISPATCHER_FLOWER_PORT", 5555),
    ]
)
# Made once for each site.
hooks.Filters.CONFIG_UNIQUE.add_items(
    [
        ("DISPATCHER_REDIS_PASSWORD", "{{ 24|random_string }}"),
        ("DISPATCHER_FLOWER_PASSWORD", "{{ 24|random_string }}"),
        # Public: pages send it.
        ("DISPATCHER_COLLECTOR_KEY", "{{ 16|random_string }}"),
        # Of the webhook at Segment: /segmentio/event?key=…
        ("DISPATCHER_MOBILE_SECRET", "{{ 24|random_string }}"),
    ]
)


def patch(place: str, template: str) -> None:
    """Put text into one of the places that Tutor's templates have for it."""
    hooks.Filters.ENV_PATCHES.add_item((place, template))


# For the web processes, which need neither Celery nor Redis of ours: the platform has its own versions of both.
patch(
    "openedx-dockerfile-post-python-requirements",
    """
{%- if not DISPATCHER_PIP_REQUIREMENT %}
RUN echo "Error: set DISPATCHER_PIP_REQUIREMENT of Tutor to what pip shall install" >&2; exit 1
{%- endif %}
RUN --mount=type=cache,target=/openedx/.cache/pip,sharing=shared \\
    $PIP_COMMAND install --no-deps '{{ DISPATCHER_PIP_REQUIREMENT }}' \\
    && $PIP_COMMAND install 'msgspec>=0.19' 'pydantic>=2.10'
{%- if DISPATCHER_RUN_COLLECTOR %} 'httptools>=0.6.4' 'rich>=13.9' 'starlette>=0.41' \\
    'uvicorn>=0.32' 'uvloop>=0.21' 'zstandard>=0.23'
{%- endif %}
""",
)

# The tracking log and Segment move over; a backend of another plugin, such as that of Aspects, stays beside ours.
patch(
    "openedx-common-settings",
    f"""
# dispatcher
import sys

import dispatcher
from dispatcher.contrib.openedx import segment as dispatcher_segment

dispatcher.configure(environment="production", state_directory="{OUTBOX}", relay={{"mode": "external"}})
for moved_backend in ("tracking_logs", "segmentio"):
    EVENT_TRACKING_BACKENDS.pop(moved_backend, None)
EVENT_TRACKING_BACKENDS["dispatcher"] = {{"ENGINE": "dispatcher.contrib.eventtracking.DispatcherBackend"}}
sys.modules["common.djangoapps.track.segment"] = dispatcher_segment
""",
)

# The same for Compose and for Kubernetes: one mapping of texts.
ENVIRONMENT = """
DISPATCHER_ENV: production
DISPATCHER_BROKER_URL: {{ DISPATCHER_REDIS_URL|tojson }}
DISPATCHER_DESTINATIONS__TRACKING_LOG__FORMAT: edx
DISPATCHER_DESTINATIONS__SEGMENT__PROPERTIES: edx
DISPATCHER_DESTINATIONS__SEGMENT__UNIDENTIFIED: skip
{%- if DISPATCHER_SEGMENT_WRITE_KEY %}
DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY: {{ DISPATCHER_SEGMENT_WRITE_KEY|tojson }}
{%- else %}
DISPATCHER_DESTINATIONS__SEGMENT__ENABLED: "false"
{%- endif %}
FLOWER_BASIC_AUTH: {{ ("admin:" ~ DISPATCHER_FLOWER_PASSWORD)|tojson }}
DISPATCHER_COLLECTOR__MOBILE_SECRET: {{ DISPATCHER_MOBILE_SECRET|tojson }}
DISPATCHER_COLLECTOR__PROXIES: {{ DISPATCHER_COLLECTOR_PROXIES|tojson|tojson }}
DISPATCHER_COLLECTOR__USER: dispatcher.contrib.django.collector_user:user_of
{%- set scheme = "https" if ENABLE_HTTPS else "http" %}
{%- set origins = [scheme ~ "://" ~ LMS_HOST, scheme ~ "://" ~ CMS_HOST, scheme ~ "://*." ~ LMS_HOST] %}
DISPATCHER_SOURCES: {{ {"openedx": {"write_key": DISPATCHER_COLLECTOR_KEY, "origins": origins}}|tojson|tojson }}
{%- for name, value in DISPATCHER_SETTINGS.items() %}
DISPATCHER_{{ name|upper }}: {{ (value if value is string else value|tojson)|tojson }}
{%- endfor %}
"""
# Compose takes a dollar for the beginning of a variable.
FOR_COMPOSE = ENVIRONMENT.replace("|tojson }}", "|tojson|replace('$', '$$') }}")


def indented(text: str, blanks: int) -> str:
    """Lines of YAML, so many blanks further in."""
    return text.rstrip().replace("\n", "\n" + " " * blanks)


patch(
    "local-docker-compose-permissions-volumes",
    """
- ../../data/dispatcher:/mounts/dispatcher:z
{%- if DISPATCHER_RUN_REDIS %}
- ../../data/dispatcher-redis:/mounts/dispatcher-redis:z
{%- endif %}
""",
)
patch(
    "local-docker-compose-permissions-command",
    f"""
setowner {OUR_USER} /mounts/dispatcher
{{%- if DISPATCHER_RUN_REDIS %}}
setowner {PLATFORM_USER} /mounts/dispatcher-redis
{{%- endif %}}
""",
)
patch(
    "local-docker-compose-services",
    f"""
{{%- if DISPATCHER_RUN_REDIS %}}
dispatcher-redis:
  image: {{{{ DOCKER_IMAGE_REDIS }}}}
  # Full means full: with any other policy it would throw away events that wait.
  command: ["redis-server", "--requirepass", {{{{ DISPATCHER_REDIS_PASSWORD|tojson|replace('$', '$$') }}}},
    "--appendonly", "yes", "--maxmemory-policy", "noeviction"]
  user: "{PLATFORM_USER}:{PLATFORM_USER}"
  working_dir: /data
  volumes:
    - ../../data/dispatcher-redis:/data:z
  restart: unless-stopped
  depends_on:
    - permissions
{{%- endif %}}
# Moves the events of the LMS, Studio, their workers and jobs on, so it runs as their user.
dispatcher-relay:
  image: {{{{ DISPATCHER_DOCKER_IMAGE }}}}
  command: ["dispatcher", "relay"]
  user: "{PLATFORM_USER}:{PLATFORM_USER}"
  working_dir: /tmp
  environment: &dispatcher-environment{indented(FOR_COMPOSE, 4)}
    DISPATCHER_STATE_DIRECTORY: {OUTBOX}
  volumes:
    - ../../data/openedx-media-private:/openedx/media-private:z
  restart: unless-stopped
  depends_on:
    - permissions
dispatcher-worker:
  image: {{{{ DISPATCHER_DOCKER_IMAGE }}}}
  command: ["dispatcher", "worker"]
  environment:
    <<: *dispatcher-environment
    DISPATCHER_STATE_DIRECTORY: /var/log/tracking/state
  volumes:
    # tracking.log, and dead letters that Redis has no room for.
    - ../../data/dispatcher:/var/log/tracking:z
  restart: unless-stopped
  stop_grace_period: 30s
  depends_on:
    - permissions
dispatcher-flower:
  image: {{{{ DISPATCHER_DOCKER_IMAGE }}}}
  command: ["dispatcher", "flower", "--address", "0.0.0.0"]
  environment:
    <<: *dispatcher-environment
    DISPATCHER_STATE_DIRECTORY: /tmp/dispatcher
  ports:
    - "127.0.0.1:{{{{ DISPATCHER_FLOWER_PORT }}}}:5555"
  restart: unless-stopped
{{%- if DISPATCHER_RUN_COLLECTOR %}}
# In the image of the platform, whose sessions say who the user is.
dispatcher-collector:
  image: {{{{ DOCKER_IMAGE_OPENEDX }}}}
  command: ["dispatcher", "collector", "--host", "0.0.0.0", "--port", "8090"]
  environment:
    <<: *dispatcher-environment
    SERVICE_VARIANT: lms
    DJANGO_SETTINGS_MODULE: lms.envs.tutor.production
    DISPATCHER_STATE_DIRECTORY: {OUTBOX}
    DISPATCHER_RELAY__MODE: external
  volumes:
    - ../apps/openedx/settings/lms:/openedx/edx-platform/lms/envs/tutor:roz
    - ../apps/openedx/settings/cms:/openedx/edx-platform/cms/envs/tutor:roz
    - ../apps/openedx/config:/openedx/config:roz
    - ../../data/openedx-media-private:/openedx/media-private:z
  restart: unless-stopped
  depends_on:
    - permissions
    - lms
{{%- endif %}}
""",
)
patch(
    "caddyfile-lms",
    """
{%- if DISPATCHER_RUN_COLLECTOR %}
@dispatcher path /event /segmentio/event /v1/* /tracker.js /logger.js
reverse_proxy @dispatcher dispatcher-collector:8090
{%- endif %}
""",
)


Manifest = dict[str, Any]
# It ends after all that is there has been moved on, since what stays in a pod goes with it.
RELAY = (
    "trap 'kill $pid' TERM; dispatcher relay & pid=$!; wait $pid; wait $pid; exec dispatcher relay --once --timeout 20"
)
OUTBOX_MOUNT = {"mountPath": OUTBOX, "name": "dispatcher-outbox"}
OUTBOX_VOLUME = {"name": "dispatcher-outbox", "emptyDir": {}}
PLATFORM_FOLDERS = {
    "settings-lms": ("openedx-settings-lms", "/openedx/edx-platform/lms/envs/tutor/"),
    "settings-cms": ("openedx-settings-cms", "/openedx/edx-platform/cms/envs/tutor/"),
    "config": ("openedx-config", "/openedx/config"),
}


def container(name: str, image: str, state: str, environment: dict[str, str] | None = None, **more: Any) -> Manifest:
    """A container with the settings of dispatcher, and more variables in its environment."""
    variables = {"DISPATCHER_STATE_DIRECTORY": state, **(environment or {})}
    return {
        "name": name,
        "image": image,
        "envFrom": [{"secretRef": {"name": "dispatcher"}}],
        "env": [{"name": key, "value": value} for key, value in variables.items()],
        "securityContext": {"allowPrivilegeEscalation": False},
        **more,
    }


def ours(name: str, state: str, *command: str, **more: Any) -> Manifest:
    """A container of our image."""
    return container(name, "{{ DISPATCHER_DOCKER_IMAGE }}", state, command=[*command], workingDir="/tmp", **more)


# Starts before the containers of its pod and ends after them (Kubernetes 1.29).
RELAY_BESIDE = {
    "initContainers": [
        ours("dispatcher-relay", OUTBOX, "sh", "-c", RELAY, restartPolicy="Always", volumeMounts=[OUTBOX_MOUNT])
    ],
    "terminationGracePeriodSeconds": 60,
}


def manifest(api: str, kind: str, name: str, labels: dict[str, str] | None = None, **rest: Any) -> Manifest:
    """A resource with the labels that Tutor's have."""
    metadata = {"name": name, "labels": {"app.kubernetes.io/name": name, **(labels or {})}}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def deployment(name: str, container: Manifest, user: int, claim: str = "", **pod: Any) -> Manifest:
    """One pod; with a claim of a volume, the old one ends before the new one starts."""
    label = {"app.kubernetes.io/name": name}
    if claim:
        pod = {**pod, "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]}
    spec = {
        "selector": {"matchLabels": label},
        **({"strategy": {"type": "Recreate"}} if claim else {}),
        "template": {
            "metadata": {"labels": label},
            "spec": {
                "securityContext": {"runAsUser": user, "runAsGroup": user, "fsGroup": user},
                "containers": [container],
                **pod,
            },
        },
    }
    return manifest("apps/v1", "Deployment", name, spec=spec)


def service(name: str, port: int) -> Manifest:
    """A service of one port."""
    selector = {"app.kubernetes.io/name": name}
    ports = [{"port": port, "protocol": "TCP"}]
    return manifest("v1", "Service", name, spec={"type": "ClusterIP", "ports": ports, "selector": selector})


def claim(name: str, size: str) -> Manifest:
    """A volume."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return manifest("v1", "PersistentVolumeClaim", name, {"app.kubernetes.io/component": "volume"}, spec=spec)


class Dumper(yaml.SafeDumper):
    """Writes what comes twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def documents(*manifests: Manifest, only_if: str = "true") -> str:
    """A template of YAML, whose documents are there only where a setting is true."""
    text = "".join("\n---\n" + yaml.dump(one, Dumper=Dumper, sort_keys=False, width=10_000) for one in manifests)
    return f"{{% if {only_if} %}}{text}{{% endif %}}"


# A template of its own, since it goes through settings.
SECRET = documents(manifest("v1", "Secret", "dispatcher")) + f"stringData:{indented(ENVIRONMENT, 2)}\n"
REDIS = {
    "name": "dispatcher-redis",
    "image": "{{ DOCKER_IMAGE_REDIS }}",
    "args": [
        *("redis-server", "--requirepass", "{{ DISPATCHER_REDIS_PASSWORD }}", "--appendonly", "yes"),
        *("--maxmemory-policy", "noeviction", "--dir", "/data"),
    ],
    "ports": [{"containerPort": 6379}],
    "volumeMounts": [{"mountPath": "/data", "name": "data"}],
    "securityContext": {"allowPrivilegeEscalation": False},
}
WORKER = ours(
    *("dispatcher-worker", "/var/log/tracking/state", "dispatcher", "worker"),
    volumeMounts=[{"mountPath": "/var/log/tracking", "name": "data"}],
)
FLOWER = ours(
    *("dispatcher-flower", "/tmp/dispatcher", "dispatcher", "flower", "--address", "0.0.0.0"),
    ports=[{"containerPort": 5555}],
)
COLLECTOR = container(
    "dispatcher-collector",
    "{{ DOCKER_IMAGE_OPENEDX }}",
    OUTBOX,
    {
        "SERVICE_VARIANT": "lms",
        "DJANGO_SETTINGS_MODULE": "lms.envs.tutor.production",
        "DISPATCHER_RELAY__MODE": "external",
    },
    args=["dispatcher", "collector", "--host", "0.0.0.0", "--port", "8090"],
    ports=[{"containerPort": 8090}],
    readinessProbe={"httpGet": {"path": "/readyz", "port": 8090}},
    volumeMounts=[
        *({"mountPath": path, "name": name} for name, (_, path) in PLATFORM_FOLDERS.items()),
        OUTBOX_MOUNT,
    ],
)
COLLECTOR_POD = {
    **RELAY_BESIDE,
    "volumes": [
        *({"name": name, "configMap": {"name": source}} for name, (source, _) in PLATFORM_FOLDERS.items()),
        OUTBOX_VOLUME,
    ],
}


def beside_relay(name: str) -> Manifest:
    """What a deployment of Tutor's gets in addition."""
    pod = {"containers": [{"name": name, "volumeMounts": [OUTBOX_MOUNT]}], "volumes": [OUTBOX_VOLUME], **RELAY_BESIDE}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"template": {"spec": pod}},
    }


RUN_REDIS, RUN_COLLECTOR = "DISPATCHER_RUN_REDIS", "DISPATCHER_RUN_COLLECTOR"

patch("k8s-override", documents(*map(beside_relay, ("lms", "lms-worker", "cms", "cms-worker"))))
patch(
    "k8s-deployments",
    SECRET
    + documents(
        deployment("dispatcher-worker", WORKER, OUR_USER, "dispatcher"),
        deployment("dispatcher-flower", FLOWER, OUR_USER),
    )
    + documents(deployment("dispatcher-redis", REDIS, PLATFORM_USER, "dispatcher-redis"), only_if=RUN_REDIS)
    + documents(deployment("dispatcher-collector", COLLECTOR, PLATFORM_USER, **COLLECTOR_POD), only_if=RUN_COLLECTOR),
)
patch(
    "k8s-services",
    documents(service("dispatcher-flower", 5555))
    + documents(service("dispatcher-redis", 6379), only_if=RUN_REDIS)
    + documents(service("dispatcher-collector", 8090), only_if=RUN_COLLECTOR),
)
patch(
    "k8s-volumes",
    documents(claim("dispatcher", "10Gi")) + documents(claim("dispatcher-redis", "5Gi"), only_if=RUN_REDIS),
)
