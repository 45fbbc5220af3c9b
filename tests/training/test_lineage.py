"""What a VM's folder says of where it came from."""

import json
from dataclasses import asdict
from pathlib import Path

from understudy.training import LINEAGE, Trained, read_lineage


def test_the_lineage_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    trained = Trained("c", "d", "r", "v", "b", "p", "lora", 3, 0, 4, 0.1, 0, ((1, 2.0),))
    said = asdict(trained)
    del said["with_tools"]  # which came later
    (tmp_path / LINEAGE).write_text(json.dumps(said))
    assert read_lineage(tmp_path) == trained
