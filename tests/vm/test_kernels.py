"""Which packages a line of kernels.yaml comes to."""

import re

import pytest

from tests.vm.kernels import Kernel, KernelError, chosen, headers_of, listed, newest

AVAILABLE = {
    "linux-image-6.1.0-9-cloud-amd64": "6.1.90-1",
    "linux-image-6.1.0-10-cloud-amd64": "6.1.100-1",
    "linux-image-6.1.0-11-amd64": "6.1.110-1",
    "linux-image-6.1.0-12-cloud-amd64-unsigned": "6.1.120-1",
    "linux-image-6.12.7+deb13-cloud-amd64": "6.12.7-1",
    "linux-image-7.2.1+deb13-cloud-amd64": "7.2.1-1",
    "linux-binary-7.2.1+deb13-cloud-amd64": "7.2.1-1",
    "linux-modules-7.2.1+deb13-cloud-amd64": "7.2.1-1",
    "linux-image-cloud-amd64": "7.2.1-1",
}


def of_series(series: str) -> tuple[str, list[str]]:
    return newest(Kernel("any", series, "suite"), AVAILABLE)


def test_releases_are_compared_as_numbers() -> None:
    assert of_series("6.1") == ("6.1.0-10-cloud-amd64", ["linux-image-6.1.0-10-cloud-amd64=6.1.100-1"])


def test_all_packages_of_a_kernel_are_taken() -> None:
    release, packages = of_series("")
    assert release == "7.2.1+deb13-cloud-amd64"
    assert [re.sub("-7.*", "", name) for name in packages] == ["linux-image", "linux-binary", "linux-modules"]


def test_headers_are_in_two_packages() -> None:
    available = {
        "linux-headers-6.1.0-10-cloud-amd64": "6.1.100-1",
        "linux-headers-6.1.0-10-common": "6.1.100-2",
    }
    assert headers_of("6.1.0-10-cloud-amd64", available) == [
        "linux-headers-6.1.0-10-cloud-amd64=6.1.100-1",
        "linux-headers-6.1.0-10-common=6.1.100-2",
    ]
    with pytest.raises(KernelError, match=r"there is no linux-headers-6\.1\.0-10-common"):
        headers_of("6.1.0-10-cloud-amd64", {"linux-headers-6.1.0-10-cloud-amd64": "6.1.100-1"})


def test_a_series_that_is_not_there_is_said() -> None:
    with pytest.raises(KernelError, match=r"suite has no cloud-amd64 kernel 5\.1"):
        of_series("5.1")


def test_kernels_are_chosen_by_name_and_all_without_any() -> None:
    assert [kernel.name for kernel in chosen(["newest", "6.1"])] == ["newest", "6.1"]
    assert chosen([]) == listed()
    with pytest.raises(KernelError, match=r"4\.19: not in vagrant/kernels\.yaml, which has 5\.10, "):
        chosen(["4.19"])
