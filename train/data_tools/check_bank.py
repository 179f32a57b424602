"""`adafocus check-bank`: whether the features of a bank are still those that were stored."""

from __future__ import annotations

from pathlib import Path

from adafocus_env.features.bank_files import MANIFEST_FILE, Manifest, is_intact, shard_file
from adafocus_env.files import CheckpointError, write_json
from train.config.keys import ConfigError
from train.config.tools import CheckBankConfig
from train.runs.progress import ProgressDisplay

REPORT_FILE = "check_bank.json"


def run_check_bank(config: CheckBankConfig, display: ProgressDisplay) -> None:
    """Compare every shard with its checksum; write a report into the run folder.

    Raises:
        ConfigError: there is no bank, or some of it is damaged.
    """
    source = Path(config.need("source"))
    splits = sorted(file.parent for file in source.glob(f"**/{MANIFEST_FILE}"))
    if not splits:
        raise ConfigError(f"no feature bank in source={source}; 'adafocus bank' makes one")
    damaged: list[str] = []
    intact = 0
    for folder in splits:
        try:
            shards = Manifest.read(folder).shards
        except CheckpointError as error:
            display.say(f"damaged: {error}")
            damaged.append(str(folder / MANIFEST_FILE))
            continue
        with display.part(f"check bank: {folder.name}", len(shards)) as progress:
            for number, record in enumerate(shards):
                file = shard_file(folder, number)
                if is_intact(file, record):
                    intact += 1
                else:
                    display.say(f"damaged or missing: {file}")
                    damaged.append(str(file))
                progress.advance()
    write_json(config.output_dir / REPORT_FILE, {"intact": intact, "damaged": damaged})
    if damaged:
        raise ConfigError(
            f"{len(damaged)} files of the bank in {source} are damaged or missing, the first is "
            f"{damaged[0]}; the 'adafocus bank' command that made it makes only such shards anew"
        )
    display.say(f"all {intact} shards of the bank in {source} are as they were stored")
