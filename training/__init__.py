"""From corpus to VM, over TRL, peft, transformers and sentence-transformers.

In: a corpus folder, or files of rows, and the `training:` block of a recipe. Out: a folder with the adapter (or full
weights), its lineage, a model card, what was learned from and the loss curve. Read `train.py`, then the module of an
objective: `sft.py`, `preferences.py` (DPO, SimPO), `heads.py` (reward models, soft labels), `retrieval.py`.
"""

from understudy.training.job import TrainProgress
from understudy.training.lineage import LINEAGE, Trained, read_lineage
from understudy.training.preflight import Preflight
from understudy.training.train import check, train

__all__ = ["LINEAGE", "Preflight", "TrainProgress", "Trained", "check", "read_lineage", "train"]
