"""Fixtures of the black-box tests: a folder, a service, and every client by name."""

import shutil
import subprocess

import pytest

from harness.callers import CALLERS
from harness.service import Service


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory):
    """A folder for the tests of one file, removed afterwards."""
    folder = tmp_path_factory.mktemp("module")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder(tmp_path):
    """A folder for one test, removed afterwards: trees are large."""
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture(scope="module")
def service(module_folder):
    """A running service for the tests of one file."""
    started = Service(module_folder / "service")
    try:
        yield started.start()
    finally:
        started.close()


@pytest.fixture
def fresh(folder):
    """A service of its own for one test; the test starts it."""
    created = Service(folder / "service")
    try:
        yield created
    finally:
        created.close()


@pytest.fixture
def small_disk(folder):
    """Mounts a memory file system of the given size; unmounted afterwards."""
    mounted = []

    def mount(name, megabytes):
        place = folder / name
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "strongroom-test", str(place)], check=True)
        mounted.append(place)
        return place

    yield mount
    for place in reversed(mounted):
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(params=sorted(CALLERS))
def caller(request, service):
    """Each real client in turn, signed in to the file's service."""
    made = CALLERS[request.param](service.credentials())
    yield made
    made.close()
