"""What the pages show of labelers and baselines."""

from flows.server.explorer.baselines import guesses, numbers

FLAT = {
    "chance": 0.5,
    "majority": "dog",
    "nearest": "cat",
    "nearest_probability": 0.75,
    "nearest_latent": "cat",
    "nearest_latent_probability": 0.6,
}


def test_baselines_of_older_answers_are_shown_by_their_names() -> None:
    shown = [(guess.name, guess.label, guess.probability) for guess in guesses(FLAT)]
    assert shown == [
        ("nearest by codes", "cat", 0.75),
        ("nearest by sound", "cat", 0.6),
        ("commonest label", "dog", None),
    ]


def test_every_labeler_is_shown_once() -> None:
    said = {"nearest tokens": 0.75, "class mean latents": 0.9}
    labelers = {name: {"label": "cat", "probability": share} for name, share in said.items()}
    shown = [(guess.name, guess.probability) for guess in guesses({**FLAT, "labelers": labelers})]
    assert shown == [("class mean latents", 0.9), ("nearest tokens", 0.75), ("commonest label", None)]
    assert numbers({**FLAT, "labelers": labelers}) == [("chance", 0.5)]
