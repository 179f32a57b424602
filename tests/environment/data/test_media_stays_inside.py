"""Media are opened in one place, which opens nothing but videos and frames of the data folder."""

import ast
from pathlib import Path

import pytest

from adafocus_env.data import VideoError, find_files
from adafocus_env.data.lists.list_files import scan_list_file

REPOSITORY = Path(__file__).parents[3]
PACKAGES = ("adafocus_env", "agents", "train")

# Whoever else wrote these calls would open a file that nobody has looked at.
OPENERS = {
    *("av.open", "cv2.VideoCapture", "cv2.imread", "cv2.imreadmulti", "cv2.imdecode"),
    *("Image.open", "PilImage.open", "imageio.imread", "plt.imread", "io.read_image"),
    *("io.read_video", "io.decode_image", "decord.VideoReader", "subprocess.run", "os.system"),
    *("subprocess.Popen", "subprocess.check_output"),
}


def _calls(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {call for call in calls if ".".join(call.split(".")[-2:]) in OPENERS}


def test_every_command_reads_media_through_the_one_reader():
    media = REPOSITORY / "adafocus_env" / "data" / "media"
    found = {
        file.relative_to(media).as_posix(): calls
        for package in PACKAGES
        for file in (REPOSITORY / package).rglob("*.py")
        if (calls := _calls(file))
    }
    assert found == {
        "open_video.py": {"av.open"},
        "frame_folders.py": {"cv2.imdecode"},
        "video_files.py": {"av.open"},  # counts what it has just written
    }


@pytest.mark.parametrize("media", ["videos", "frames"])
def test_no_line_of_a_list_leads_out_of_the_folder(tmp_path, media):
    root, secret = tmp_path / "data" / media, tmp_path / "secret"
    (root / "sub").mkdir(parents=True)
    secret.mkdir()
    (secret / "v.mp4").write_bytes(b"\0\0\0\x18ftyp")
    (root / "folder").symlink_to(secret)
    (root / "file.mp4").symlink_to(secret / "v.mp4")
    (root / "sub" / "up").symlink_to("../../..")
    lines = ("folder/v.mp4", "folder", "file.mp4", "sub/up/secret/v.mp4", "../../secret/v.mp4")
    lines += (str(secret / "v.mp4"), "sub/../../../secret/v.mp4", "folder/../secret/v.mp4")
    (tmp_path / "data" / "val.txt").write_text("".join(f"{line},1,0\n" for line in lines))
    files = find_files("videos", data_dir=tmp_path / "data", media=media)
    contents = scan_list_file(files.list_file("val"), files.root, 1, files.lists.list_format)
    assert len(contents.problems) == len(lines)
    assert all("leaves the data folder" in problem for problem in contents.problems)
    # A link that is made after the list was read.
    (root / "late.mp4").symlink_to(secret / "v.mp4")
    with pytest.raises(VideoError, match=r"leaves the data folder|no such folder"):
        list(files.reader().read(root.resolve() / "late.mp4", [0]))
