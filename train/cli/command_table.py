"""The commands: what each does, and the keys that its users change most."""

from __future__ import annotations

from train.cli.command_help import Command

_DATA_KEYS = (
    ("experiment=NAME", "glyphs (built-in, default), videos (your own), actnet_patch128, ..."),
    ("data_dir=FOLDER", "where the list files, the class file and the videos are"),
)
_FEATURES_KEYS = (
    ("features=live|bank:PATH", "run the networks, or use what 'adafocus bank' stored"),
    ("bank_device=auto|cpu|cuda", "where the bank lies"),
)
_FIT_KEYS = (
    ("epochs=N batch_size=N", "length of training, videos an update"),
    ("seed=N device=cpu|cuda", "chance and place"),
)

COMMANDS = {
    "demo": Command(
        "train.demo:demo",
        "make videos, train all four stages, benchmark: the whole thing on built-in videos",
        (
            ("seed=N", "of training; the videos stay the same"),
            ("ship=true", "also write the stage-1 recognizer into the package's assets"),
        ),
    ),
    "make-videos": Command(
        "train.cli.commands:make_videos_command",
        "write the built-in videos as mp4 files with their list files",
        (("data_dir=FOLDER", "where to; default outputs/glyphs"), ("num_workers=N", "processes")),
    ),
    "extract-frames": Command(
        "train.cli.commands:extract_frames_command",
        "write the frames of videos as JPEG folders, as the published code reads them",
        (
            ("source=FOLDER", "the videos, with any folders in it"),
            ("target=FOLDER", "where to; one folder of image_00001.jpg ... a video"),
            ("height=360|none", "height of the frames in pixels, or as they are"),
            ("frame_rate=N", "frames a second; default the video's own"),
            ("num_workers=N", "processes"),
        ),
    ),
    "check-data": Command(
        "train.cli.commands:check_data_command",
        "look for everything in a data set that would break training",
        (
            ("experiment=NAME", "actnet_patch128, ..., or dataset=actnet|fcvid|minik|videos"),
            ("data_dir=FOLDER", "where the list files, the class file and the videos are"),
            ("media=frames|videos", "read JPEG folders or video files"),
            ("num_workers=N", "processes"),
        ),
    ),
    "convert": Command(
        "train.cli.commands:convert_command",
        "read a published checkpoint, or write one",
        (
            ("source=FILE|RUN", "a published .pth.tar; with format=published a run folder"),
            ("target=FOLDER|FILE", "where to write"),
            ("format=ours|published", "what to write"),
            ("experiment=NAME", "actnet_patch128, ...: sizes that the file does not hold"),
        ),
    ),
    "flops": Command(
        "train.cli.commands:flops_command",
        "multiply-adds per video of any configuration, by part",
        (("experiment=NAME", "actnet_patch128, ..."), ("patch_size=N num_frames=N", "sizes")),
    ),
    "stage0": Command(
        "train.cli.commands:stage0",
        "fine-tune the glancer or the focuser on whole frames",
        (("pretrain_glancer=true|false", "the glancer, or the focuser"), *_DATA_KEYS, *_FIT_KEYS),
    ),
    "stage1": Command(
        "train.cli.commands:stage1",
        "train focuser and classifier on random patches",
        (
            ("pretrained_glancer=RUN", "run folder of stage0 pretrain_glancer=true"),
            ("pretrained_focuser=RUN", "run folder of stage0 pretrain_glancer=false"),
            ("skip_rate=0.5|random", "frames left out by chance, so that it knows skipped ones"),
            *_DATA_KEYS,
            *_FIT_KEYS,
        ),
    ),
    "stage2": Command(
        "train.cli.commands:stage2",
        "train the policy by reinforcement learning",
        (
            ("resume=RUN", "run folder of stage1"),
            ("algo=NAME", "gru_ppo, ppo, a2c, dqn, recurrent_ppo, trpo, qrdqn, custom"),
            ("algo.preset=demo|paper|tuned", "a set of gru_ppo's arguments"),
            ("algo.learning_rate=1e-3 ...", "any argument of the algorithm"),
            ("algo.class_path=pkg.Class", "an algorithm of your own"),
            ("locations=grid|continuous", "where patches may be"),
            ("locations=skip reward=skip", "an action more that skips the frame (AdaFocus+)"),
            ("skip_cost=0.05|random", "what a look costs; random: one policy for every cost"),
            ("policy=RUN", "gru_ppo: start from this policy, which may be of another action space"),
            ("observation=map|vector", "what the policy sees"),
            ("reward=NAME", "random, expected, padding, prev, conf or skip"),
            ("action_dim=49", "positions of the grid: 16, 25, 36, 49 or 64"),
            ("-m algo=ppo,dqn seed=0,1,2", "a sweep; again with its output_dir: what is missing"),
            *_FEATURES_KEYS,
            *_DATA_KEYS,
            *_FIT_KEYS,
        ),
    ),
    "tune": Command(
        "train.cli.commands:tune",
        "search an algorithm's main parameters for stage2; an interrupted search goes on",
        (
            ("resume=RUN", "run folder of stage1"),
            ("features=bank:PATH", "recommended: a trial then takes seconds to minutes"),
            ("algo=NAME", "as for stage2"),
            ("algo.gamma=0.0 ...", "what is given is not searched"),
            ("trials=20", "in all: the same command with the same output_dir makes the missing"),
            ("search={gamma: [0.0,0.7]}", "values of your own; null leaves a parameter out"),
            ("pruner=median|hyperband|none", "ends trials that are worse than earlier ones"),
            *_DATA_KEYS,
            *_FIT_KEYS,
        ),
    ),
    "stage3": Command(
        "train.cli.commands:stage3",
        "fine-tune the classifier on the patches of a policy",
        (
            ("resume=RUN", "run folder of stage2 (or of stage1, with policy=)"),
            ("policy=random|center|RUN", "whose patches; default: the policy in resume"),
            ("skip_rate=0.5|random", "frames left out by chance, so that it knows skipped ones"),
            ("trust=true", "open policy=FILE.zip of SB3, which can run code"),
            *_DATA_KEYS,
            *_FIT_KEYS,
        ),
    ),
    "bank": Command(
        "train.cli.commands:bank",
        "compute a split's features once, for stage2, evaluate and benchmark",
        (
            ("resume=RUN", "run folder with the recognizer (stage1)"),
            ("target=FOLDER", "the bank goes to FOLDER/SPLIT: one folder for all splits"),
            ("split=train|val|test", "stage2 needs train and val"),
            ("views=K", "clips of each training video; an episode shows one of them"),
            ("action_dim=49", "positions of the grid: 16, 25, 36, 49 or 64"),
            ("num_workers=N", "processes that load clips"),
            *_DATA_KEYS,
        ),
    ),
    "evaluate": Command(
        "train.cli.commands:evaluate",
        "judge one policy with one recognizer by the published protocol",
        (
            ("resume=RUN", "run folder with the recognizer (stage1, stage2 or stage3)"),
            (
                "policy=random|center|...|RUN",
                "default: the policy in resume; without one",
            ),
            ("policy=random_offsets", "  patches at random pixels, as stage 1 is validated"),
            ("skip_cost=0.05", "told to a policy that learned at random costs of a look"),
            ("trust=true", "open policy=FILE.zip of SB3, which can run code"),
            ("split=train|val|test", "default test, val for the published data sets"),
            ("map_rule=standard|published", "published: with its shift where a class is absent"),
            ("map_labels=all|first", "of a video's labels"),
            ("reward=NAME", "also measure rewards; by default none, at half the cost"),
            ("batch_size=64", "videos at a time; changes no result"),
            *_FEATURES_KEYS,
            *_DATA_KEYS,
        ),
    ),
    "benchmark": Command(
        "train.cli.commands:benchmark",
        "compare policies, each with its own classifier and all with the same",
        (
            ("resume=RUN", "run folder of stage2: common recognizer and learned policy"),
            ("policies=[random,center,...]", "default random, center, learned, greedy_oracle;"),
            ("", "  also random_offsets, fixed:24, sweep, saliency, beam_oracle:4"),
            ("policies=[NAME:RUN,...]", "learned policies; a name given twice: two seeds"),
            ("policies=[NAME@0.05:RUN]", "  told that a look costs 0.05 (AdaFocus+)"),
            ("policies=[random_skip:N:P]", "  P's looks in N of the frames, a rate or as many as"),
            ("policies=[uniform_skip:4:P]", "  policy N; at random, or 4 that are evenly spread"),
            ("runs=FOLDER", "the stage-2 runs of a sweep, for learned, by algorithm"),
            ("runs={learned: RUN, ...}", "stage-3 run folders: the policies' own classifiers"),
            ("train_gap=true", "also judge on the training split"),
            ("conditional_exit=true", "accuracy by budget: stop where the answer is certain"),
            ("player_videos=[0,5]", "videos in the report's player"),
            ("split=train|val|test", "default test"),
            *_FEATURES_KEYS,
            *_DATA_KEYS,
        ),
    ),
    "record": Command(
        "train.cli.commands:record",
        "write videos with the looks of policies side by side, as mp4 or GIF",
        (
            ("resume=RUN", "run folder with the recognizer, and learned policy"),
            ("policies=[random,learned]", "as for benchmark; NAME:RUN, fixed:24, saliency, ..."),
            ("videos=[0,3]", "which of the split, or how many; default 4"),
            ("output=FILE.mp4|FILE.gif", "default record.mp4 in the run folder"),
            ("fps=2.5", "frames a second"),
            ("split=train|val|test", "default test"),
            *_FEATURES_KEYS,
            *_DATA_KEYS,
        ),
    ),
}
