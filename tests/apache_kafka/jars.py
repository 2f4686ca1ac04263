"""The jars of Apache Kafka, fetched once by Maven into a folder of the checkout.

`python -m tests.apache_kafka.jars` fetches them and prints the folder; `make kafka` does so.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from repertory.errors import RepertoryError

POM = Path(__file__).parent / "pom.xml"
CACHE = Path(__file__).parent.parent.parent / ".cache" / "apache-kafka"
JAVA_VERSION = 17
"""The oldest that Apache Kafka's server runs on."""

_FETCH_SECONDS = 540.0


class ApacheKafkaMissing(RepertoryError):
    """Apache Kafka cannot run here; the message says what to install."""


def java() -> str:
    """Return the path of a Java runtime that is new enough. Raises ApacheKafkaMissing."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin" if home else None)
    if found is None:
        where = f"in {home}/bin, where JAVA_HOME points" if home else "on the PATH"
        raise ApacheKafkaMissing(
            f"Apache Kafka needs Java {JAVA_VERSION} or newer, and there is no java {where}; "
            f"install openjdk-{JAVA_VERSION}-jre-headless"
        )
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(\d+)', said.stderr)
    if version is None or int(version[1]) < JAVA_VERSION:
        raise ApacheKafkaMissing(
            f"Apache Kafka needs Java {JAVA_VERSION} or newer; {found} says: {said.stderr.strip()}"
        )
    return found


def fetch_jars() -> Path:
    """Return the folder of the jars, which Maven fills at the first call.

    Several processes may call it at once: one fetches, the others wait. Raises ApacheKafkaMissing.
    """
    folder = CACHE / version()
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                _fetch(folder)
    return folder


def version() -> str:
    """Return the version of Apache Kafka that the pom names."""
    name = "{http://maven.apache.org/POM/4.0.0}"
    for dependency in ElementTree.parse(POM).iter(f"{name}dependency"):
        if dependency.findtext(f"{name}artifactId", "").startswith("kafka_"):
            return dependency.findtext(f"{name}version", "")
    raise ApacheKafkaMissing(f"{POM} names no version of kafka_2.13")


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ApacheKafkaMissing(
            f"Apache Kafka {folder.name} is not in {folder.parent}, and there is no mvn on the "
            "PATH to fetch it; install maven, then run: make kafka"
        )
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=CACHE) as work:
        _run_maven(maven, Path(work) / "jars")
        (Path(work) / "jars").rename(folder)  # all or nothing


def _run_maven(maven: str, target: Path) -> None:
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_FETCH_SECONDS
        )
        said = done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        said = f"no end after {_FETCH_SECONDS:g} s"
    if not any(target.glob("kafka_*.jar")):
        raise ApacheKafkaMissing(
            f"Maven did not fetch Apache Kafka: {said.strip() or 'no jar came'}\n"
            "mend the connection to its repository, then run: make kafka"
        )


if __name__ == "__main__":
    try:
        java()
        print(fetch_jars())
    except ApacheKafkaMissing as error:
        sys.exit(str(error))
