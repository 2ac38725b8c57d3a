"""One cluster for all its tests, which are run by `make k8s` alone."""

from collections.abc import Callable, Iterator

import pytest

from tests.image.conftest import BUILT
from tests.kubernetes.cluster import Cluster, Installation, Pod
from tests.kubernetes.node import NAME, run, running_node

LEFT = ("/run/reflexarc", "/var/lib/reflexarc")
"""What an uninstallation leaves, docs/operations.md."""
NEXT = "next"
"""A second tag of the image, for an upgrade."""


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """With the image under two tags, and nothing of ours installed."""
    if not request.config.getoption("--kubernetes"):
        pytest.skip("needs a cluster, of parts that are built in a quarter of an hour: make k8s")
    (archive,) = BUILT.glob("reflexarc-core-*.tar")
    with running_node() as node:
        cluster = Cluster(node)
        run(node.ctr("images", "import", str(archive)))
        run(node.ctr("images", "tag", "localhost/reflexarc:core", f"localhost/reflexarc:{NEXT}"))
        cluster.kubectl("wait", "--for=create", "-n", "default", "serviceaccount/default", "--timeout=60s")
        cluster.kubectl("wait", "--for=create", f"node/{NAME}", "--timeout=60s")
        cluster.kubectl("wait", "--for=condition=Ready", f"node/{NAME}", "--timeout=60s")
        yield cluster


@pytest.fixture
def install(cluster: Cluster) -> Iterator[Callable[[Installation], None]]:
    """Applies, and waits until every pod is ready; deleted afterwards, with what is left on the node."""
    applied: list[Installation] = []

    def install(installation: Installation) -> None:
        applied.append(installation)
        cluster.apply(installation)
        cluster.await_rollout()

    yield install
    if applied:
        cluster.delete(applied[-1])
    run(cluster.node.within("rm", "-rf", *LEFT, namespaces=("mount",)))


@pytest.fixture
def run_pod(cluster: Cluster) -> Iterator[Callable[[str, str], Pod]]:
    """Runs pods, and takes them away."""
    made: list[Pod] = []

    def run(name: str, script: str) -> Pod:
        made.append(cluster.run_pod(name, script))
        return made[-1]

    yield run
    for pod in made:
        pod.remove()
