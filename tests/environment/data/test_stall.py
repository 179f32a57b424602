"""Work on a video that is given up when it stalls."""

import os
import threading
from pathlib import Path

import pytest

from adafocus_env.data.clips import VideoError
from adafocus_env.data.media.stall import beat, watched

VIDEO = Path("v.mp4")


def test_work_that_hangs_is_given_up_and_ends_when_it_comes_back():
    back, ended = threading.Event(), threading.Event()

    def hang():
        back.wait()
        try:
            beat()
        finally:
            ended.set()

    with pytest.raises(VideoError, match=r"v\.mp4: decoding stalls: nothing came for 0\.05 sec"):
        watched(VIDEO, 0.05, hang)
    assert watched(VIDEO, 5.0, lambda: 3) == 3  # the next video has a thread of its own
    back.set()
    assert ended.wait(5.0)


def test_results_and_errors_come_through_and_work_takes_turns_in_one_thread():
    threads = {watched(VIDEO, 5.0, threading.get_ident) for _ in range(3)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    assert watched(VIDEO, None, threading.get_ident) == threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        watched(VIDEO, 5.0, lambda: 1 // 0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_starts_its_own_thread():
    watched(VIDEO, 5.0, lambda: None)
    child = os.fork()
    if not child:
        os._exit(0 if watched(VIDEO, 5.0, lambda: 3) == 3 else 1)
    assert os.waitpid(child, 0)[1] == 0
