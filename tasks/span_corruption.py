"""Span corruption in numbers, which settings ask for without TensorFlow."""

# T5's: 15 % of the tokens, in spans of 3 on average (Raffel et al. 2020,
# section 3.3.4).
NOISE_DENSITY = 0.15
MEAN_NOISE_SPAN_LENGTH = 3.0
# Its 2,009 tokens have 301 in spans, 100 of them; another token is span 101.
_LONGEST_INPUT = 1809


def check_span_corruption_length(input_length: int) -> None:
    """Refuses inputs with more spans than there are sentinels to mark them.

    Raises:
        ValueError: they are too long.
    """
    if input_length > _LONGEST_INPUT:
        raise ValueError(
            f"`input_length` must be at most {_LONGEST_INPUT} for span "
            "corruption: longer inputs have more than 100 spans, one "
            "for each of the vocabulary's sentinels. "
            f"Received: input_length={input_length}"
        )


def span_corruption_target_length(input_length: int) -> int:
    """Target tokens, EOS included, when inputs have exactly `input_length`."""
    from t5.data import preprocessors

    return int(
        preprocessors.random_spans_helper(
            inputs_length=input_length,
            noise_density=NOISE_DENSITY,
            mean_noise_span_length=MEAN_NOISE_SPAN_LENGTH,
            extra_tokens_per_span_inputs=1,
            extra_tokens_per_span_targets=1,
        )[1]
    )
