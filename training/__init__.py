"""From corpus to VM: supervised fine-tuning, over TRL and peft.

In: a corpus folder and the `training:` block of its recipe. Out: a folder with the adapter (or full weights),
a model card that names corpus, recipe and base by hash, and the loss curve. Read `sft.py`.
"""

from understudy.training.sft import Trained, TrainProgress, train

__all__ = ["TrainProgress", "Trained", "train"]
