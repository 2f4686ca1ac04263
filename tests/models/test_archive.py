"""Archives are unpacked into their folder, or not at all."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from repertory.errors import ModelRejected
from repertory.models.archive import MOST_FILES, copy_folder, unpack

MOST = 10 * 1024 * 1024
Pack = Callable[[dict[str, bytes]], bytes]


def packed_zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def packed_tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def link(kind: bytes, target: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, target
        archive.addfile(info)
    return buffer.getvalue()


both = pytest.mark.parametrize("pack", [packed_zip, packed_tar])


@both
def test_files_land_in_their_folder(pack: Pack, tmp_path: Path) -> None:
    unpack(pack({"a": b"1", "b/c": b"2", "./d": b"3"}), tmp_path, most_bytes=MOST)
    assert (tmp_path / "b" / "c").read_bytes() == b"2"
    assert (tmp_path / "d").read_bytes() == b"3"


@both
@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "a\\..\\evil"])
def test_a_name_that_leads_out_is_refused(pack: Pack, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    with pytest.raises(ModelRejected, match="leads out of its folder"):
        unpack(pack({name: b"x"}), folder, most_bytes=MOST)
    assert [path.name for path in tmp_path.rglob("*")] == ["inside"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_a_link_or_device_is_refused(kind: bytes, tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match="link or a device"):
        unpack(link(kind, "/etc/passwd"), tmp_path, most_bytes=MOST)
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ModelRejected, match="link or a device"):
        unpack(buffer.getvalue(), tmp_path, most_bytes=MOST)


@both
def test_a_bomb_is_refused_before_it_fills_the_disk(pack: Pack, tmp_path: Path) -> None:
    bomb = pack({"zeros": bytes(64 * 1024 * 1024)})
    with pytest.raises(ModelRejected, match="unpacks to more than is allowed"):
        unpack(bomb, tmp_path, most_bytes=1024 * 1024 * 1024)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 100 * len(bomb)


@both
def test_more_than_the_limit_is_refused(pack: Pack, tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match="unpacks to more than is allowed"):
        unpack(pack({"a": bytes(600), "b": bytes(600)}), tmp_path, most_bytes=1000)


@both
def test_too_many_files_are_refused(pack: Pack, tmp_path: Path) -> None:
    files = {f"f{i}": b"" for i in range(MOST_FILES + 1)}
    with pytest.raises(ModelRejected, match=f"more than {MOST_FILES} files"):
        unpack(pack(files), tmp_path, most_bytes=MOST)


@pytest.mark.parametrize("content", [b"PK\x03\x04garbage", b"\x1f\x8bgarbage", b""])
def test_garbage_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match="cannot be unpacked"):
        unpack(content, tmp_path, most_bytes=MOST)


def test_a_file_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected, match="cannot be unpacked"):
        unpack(packed_tar({"a": b"1", "./a": b"2"}), tmp_path, most_bytes=MOST)


def test_a_folder_is_copied_without_links(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "variables").mkdir(parents=True)
    (source / "variables" / "index").write_bytes(b"1")
    copy_folder(source, target, most_bytes=MOST)
    assert (target / "variables" / "index").read_bytes() == b"1"
    (source / "out").symlink_to("/etc")
    with pytest.raises(ModelRejected, match="link or a device"):
        copy_folder(source, tmp_path / "other", most_bytes=MOST)
