"""What goes in and what comes out: seed readers, the run folder, the dataset card.

In: documents, tables and code, read as `Seed`s (`readers.py`). Out: a folder that `datasets.load_dataset`
opens as it is, written shard by shard under a SQLite ledger that is the only truth (`ledger.py`,
`folder.py`), with the journal of SM calls inside it (`journal.py`). Read `folder.py` first.
"""

from understudy.corpus.accounting import Accounting
from understudy.corpus.folder import RunFolder
from understudy.corpus.journal import Journal
from understudy.corpus.ledger import Ledger
from understudy.corpus.readers import read_source, read_sources

__all__ = ["Accounting", "Journal", "Ledger", "RunFolder", "read_source", "read_sources"]
