"""The log of a run: sentences at info level; Prefect's lines about batches and tracebacks at debug level."""

import copy
import logging

from flows.flow_runs.explain import explain

FLOW_RUNS, TASK_RUNS = "prefect.flow_runs", "prefect.task_runs"
ENGINE_LINES = ("Running hook", "Hook ", "Finished in state")
"""Starts of the lines that Prefect writes about each batch and each hook."""


class Sentences(logging.Filter):
    """Show a known error as its sentence, and demote Prefect's routine lines to debug level."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to show the record."""
        if record.levelno <= logging.DEBUG:
            return True
        if isinstance(record.exc_info, tuple) and isinstance(error := record.exc_info[1], Exception):
            _explain(record, error)
        elif _is_routine(record):
            return _demote(record)
        return True


def write_sentences() -> None:
    """Make the logs of flows and batches sentences, from now on in this process."""
    for name in (FLOW_RUNS, TASK_RUNS):
        logger = logging.getLogger(name)
        if not any(isinstance(one, Sentences) for one in logger.filters):
            logger.addFilter(Sentences())


def _explain(record: logging.LogRecord, error: Exception) -> None:
    """Replace a known error in the record by its sentence. A bug keeps its traceback."""
    if (sentence := explain(error)) is None:
        return
    details = copy.copy(record)
    details.levelno, details.levelname = logging.DEBUG, "DEBUG"
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(logging.DEBUG):
        logger.handle(details)
    record.msg, record.args, record.exc_info, record.exc_text = sentence, (), None, None


def _is_routine(record: logging.LogRecord) -> bool:
    line = str(record.msg)
    if record.name == TASK_RUNS:
        return record.levelno == logging.INFO or line.startswith(ENGINE_LINES)
    return record.levelno == logging.INFO and line.startswith(ENGINE_LINES[:2])


def _demote(record: logging.LogRecord) -> bool:
    record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
