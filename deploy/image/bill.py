"""The bill of materials of the image, as SPDX 2.3: Debian packages of files that were taken, and wheels."""

import email
import re
import subprocess
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

DISTRIBUTION: Final = "debian"
NAMESPACE: Final = "https://reflexarc.dev/spdx"


class Package(NamedTuple):
    """One of its lines."""

    kind: str
    """`deb` or `pypi`, as in package URLs."""
    name: str
    version: str
    license: str

    @property
    def url(self) -> str:
        """See the package URL specification."""
        place = f"{DISTRIBUTION}/" if self.kind == "deb" else ""
        return f"pkg:{self.kind}/{place}{self.name}@{self.version}"


def debian(files: Iterable[Path]) -> Iterator[Package]:
    """Packages that own these files."""
    told = subprocess.run(
        ["dpkg-query", "--search", *sorted({str(path) for path in files})],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    names = {line.split(":")[0].strip() for line in told.splitlines() if not line.startswith("diversion")}
    for name in sorted(names):
        version = subprocess.run(
            ["dpkg-query", "--show", "--showformat=${Version}", name],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        yield Package("deb", name, version, "NOASSERTION")


def wheels(libraries: Path) -> Iterator[Package]:
    """Distributions installed in a folder."""
    for path in sorted(libraries.glob("*.dist-info/METADATA")):
        head = email.message_from_bytes(path.read_bytes())
        license_ = head["License-Expression"] or "NOASSERTION"
        yield Package("pypi", head["Name"].lower(), head["Version"], license_)


def document(packages: Iterable[Package], epoch: int) -> dict[str, object]:
    """As SPDX has it."""
    listed = [described(package) for package in packages]
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "reflexarc",
        "documentNamespace": f"{NAMESPACE}/{epoch}",
        "creationInfo": {"created": created, "creators": ["Tool: deploy/image/bill.py"]},
        "packages": listed,
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": each["SPDXID"],
            }
            for each in listed
        ],
    }


def described(package: Package) -> dict[str, object]:
    """One package as SPDX has it."""
    return {
        "SPDXID": "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", f"{package.kind}-{package.name}"),
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": package.license,
        "copyrightText": "NOASSERTION",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.url,
            }
        ],
    }
