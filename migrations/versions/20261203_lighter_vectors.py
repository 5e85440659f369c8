"""Index the embeddings of installed models alone, and with half the links: adding one takes a third.

An index on the log-mel statistics took a twentieth of all that tokenizing a clip takes. Clips to compare by
them are found by their codes, as everywhere without pgvector. Indexes of other models stay as they are, since
they answer the same questions.
"""

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "20261203_lighter_vectors"
down_revision = "20261202_multi_labels"
branch_labels = None
depends_on = None

FEW_DIMENSIONS = "model.dimensions <= 2000"
NOT_LOG_MEL = f"{FEW_DIMENSIONS} AND model.name <> 'log-mel'"
LINKS = "vectors.vector_cosine_ops)"
FEWER_LINKS = f"{LINKS} WITH (m = 8, ef_construction = 32)"
HAS_PGVECTOR = "to_regtype('vectors.vector') IS NOT NULL AND mine.dimensions <= 2000"
HAS_INDEX = """EXISTS (SELECT FROM pg_indexes WHERE schemaname = 'public' AND tablename = 'embeddings'
    AND indexname = 'ix_embeddings_vector_' || mine.model_id)"""

DROP_LOG_MEL = """
DO $$
DECLARE
  model_id integer;
BEGIN
  FOR model_id IN SELECT id FROM embedding_models WHERE name = 'log-mel' LOOP
    EXECUTE format('DROP INDEX IF EXISTS %I', 'ix_embeddings_vector_' || model_id);
  END LOOP;
END $$;
"""

COMMENT = """
COMMENT ON FUNCTION analytics.similar_by_embedding(text, integer, text) IS
  'The clips that are most similar to one by their embeddings: the cosine. Of the model that was last asked '
  'about the clip, or of one by its name. Where the model has an index of pgvector, it finds 200 contents to '
  'compare; without one, as for log-mel or more than 2,000 dimensions, these are the 100 that similar_clips '
  'finds';
"""


def upgrade() -> None:
    index, similar = _before()
    _execute(index.replace(FEW_DIMENSIONS, NOT_LOG_MEL).replace(LINKS, FEWER_LINKS))
    _execute(DROP_LOG_MEL)
    _execute(similar.replace(HAS_PGVECTOR, HAS_INDEX) + COMMENT)


def downgrade() -> None:
    for function in _before():
        _execute(function)
    op.execute("SELECT index_embeddings(m) FROM embedding_models m WHERE name = 'log-mel'")


def _before() -> tuple[str, str]:
    """Return the functions that index the embeddings of a model, and that find similar clips."""
    first = import_module("migrations.versions.20261201_similar_embeddings")
    index = first.INDEX.partition("REVOKE")[0]
    similar = "CREATE FUNCTION" + first.SIMILAR.rpartition("CREATE FUNCTION")[2]
    return _replacing(index), _replacing(similar)


def _replacing(function: str) -> str:
    return function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


def _execute(statements: str) -> None:
    op.execute(sa.text(statements.replace(":", r"\:")))
