"""Stored tokens of a library's clips. A library outlives its first codec."""

from collections.abc import Collection

from core.errors import PromptError
from db.embeddings import contents_with_embeddings, contents_with_windows
from db.engine import session_scope
from db.libraries import LibraryVersion
from db.tokens import TokensOfContent, contents_with_latents, contents_with_tokens, get_token_sequences
from flows.pipeline.runtime.resources import Runtime


def missing_uris(
    runtime: Runtime,
    library: LibraryVersion,
    *,
    with_latent: bool,
    embedding_models: Collection[int] = (),
    window_models: Collection[int] = (),
) -> set[str]:
    """Return the uris of clips that have no tokens of this codec yet, or none of what is asked for."""
    stored = contents_with_latents if with_latent else contents_with_tokens
    contents = library.contents
    with session_scope(runtime.engine) as session:
        known = stored(session, runtime.codec_id, set(contents.values()))
        known = contents_with_embeddings(session, embedding_models, known)
        known = contents_with_windows(session, window_models, known)
    return {uri for uri, content in contents.items() if content not in known}


def stored_tokens(
    runtime: Runtime, library: LibraryVersion, *, with_latent: bool
) -> dict[bytes, TokensOfContent]:
    """Return the tokens of each clip by content. Raises PromptError if a clip has none, or no latent."""
    contents = library.contents
    with session_scope(runtime.engine) as session:
        stored = get_token_sequences(session, runtime.codec_id, set(contents.values()))
    if with_latent:
        stored = {content: tokens for content, tokens in stored.items() if tokens.latent is not None}
    if lost := [uri for uri, content in contents.items() if content not in stored]:
        missing = "tokens and latent" if with_latent else "tokens"
        raise PromptError(
            f"{len(lost)} demonstrations of {library.name}@{library.version} have no {missing} of this codec "
            f"and are no longer what was imported: {', '.join(lost[:5])}; import them again"
        )
    return stored
