"""What is timed, by name. Each task is built once in a process of its own and then run repeatedly.

A task has `run()` and `multiply_adds`, which one run needs at least (0: not known); its `dtype` is
that of the matrix product it is compared with, its `frames` are those one run looks at, where a
rate means something.
"""

import importlib

TASKS = {}


def _add(name, module, build):
    """A task of a module that is imported only when it is built: the worker listens before."""
    TASKS[name] = lambda: build(importlib.import_module(module))


for _name, _way in (("ours", 0), ("published", 1)):
    _add(f"rollout_{_name}", "rows", lambda rows, way=_way: rows.rollout_task(way))
    _add(f"predict_{_name}", "rows", lambda rows, way=_way: rows.predict_task(way))
    _add(f"crops_{_name}", "rows", lambda rows, way=_way: rows.crop_task(way))
    for _size in ("full_size", "builtin"):
        _add(
            f"build_{_size}_{_name}",
            "bank",
            lambda bank, size=_size, way=_way: bank.Build(size, published=way == 1),
        )
_add("predict_ours_bf16", "rows", lambda rows: rows.predict_task(0, amp="bf16"))
for _name, _way in (("skipping", 0), ("plain", 1)):
    _add(f"predict_{_name}", "rows", lambda rows, way=_way: rows.skip_task(way))

for _name, _banked in (("bank", True), ("live", False)):
    _add(f"rewards_{_name}", "bank", lambda bank, banked=_banked: bank.Rewards(banked=banked))
    for _size in ("full_size", "builtin", "builtin_demo", "four_videos"):
        _add(
            f"update_{_size}_{_name}",
            "bank",
            lambda bank, size=_size, banked=_banked: bank.StageTwo(size, banked=banked),
        )

for _size in ("full_size", "builtin"):
    for _name, _banked in (("bank", True), ("live", False)):
        _add(
            f"loops_{_size}_{_name}",
            "active",
            lambda active, size=_size, banked=_banked: active.Loops(size, banked=banked),
        )
    for _name, _alone in (("whole", False), ("policy", True)):
        _add(
            f"loop_rollout_{_size}_{_name}",
            "active",
            lambda active, size=_size, alone=_alone: active.Policy(size, alone=alone),
        )

for _name in ("gru", "contrib", "contrib_shared"):
    _add(f"update_{_name}", "recurrent_ppo", lambda ppo, name=_name: ppo.Update(ppo.made(name)))
    _add(f"rollout_{_name}", "recurrent_ppo", lambda ppo, name=_name: ppo.Rollout(ppo.made(name)))

for _length in ("long", "short"):
    for _name in ("ours", "through"):
        _add(
            f"decode_{_length}_{_name}",
            "media",
            lambda media, name=_name, length=_length: media.decode_task(name, length),
        )
for _name in ("ours", "through"):
    _add(f"count_{_name}", "media", lambda media, name=_name: media.count_task(name))
for _name in ("ours", "published"):
    _add(f"class_{_name}", "media", lambda media, name=_name: media.class_task(name))
for _name in ("torch", "flops", "help", "make"):
    _add(f"start_{_name}", "start_up", lambda start_up, name=_name: start_up.task(name))
