"""T5's unsupervised objectives over a tokenized corpus, packed by SeqIO.

Span corruption pre-trains (Raffel et al. 2020, section 3.1.4); prefix LM
adapts a pre-trained model to prompts (Lester et al. 2021, section 3.4).

Letters: B batch, S encoder positions, T target positions.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_prompt.tasks.span_corruption import (
    MEAN_NOISE_SPAN_LENGTH,
    NOISE_DENSITY,
    check_span_corruption_length,
    span_corruption_target_length,
)
from keras_prompt.tasks.text_corpus import TokenCorpus
from keras_prompt.tokenizer import Tokenizer


def pretraining_dataset(
    corpus: TokenCorpus,
    split: str,
    *,
    tokenizer: Tokenizer,
    objective: str,
    input_length: int,
    batch_size: int,
    seed: int = 0,
) -> tf.data.Dataset:
    """Batches of packed examples, endless for "train", one pass otherwise.

    Args:
        corpus: from `text_corpus.tokenize`.
        split: "train" or "validation".
        tokenizer: whose vocabulary and sentinels are used.
        objective: "span_corruption", or "prefix_lm", whose targets are as
            long as its inputs.
        input_length: S.
        batch_size: B; every batch is full.
        seed: of the order of pieces, the corrupted spans and the prefixes.

    Returns:
        `(x, y, sample_weight)`: x holds int32 `encoder_token_ids` and
        `encoder_segments` (B, S), `decoder_token_ids` and `decoder_segments`
        (B, T), and bool `encoder_padding_mask` (B, S); y int32 (B, T);
        sample_weight float32 (B, T), 0 for padding.

    Raises:
        ValueError: the split is empty, or `input_length` has more spans than
            there are sentinels.
    """
    import seqio

    pieces = corpus.pieces(split)
    if not len(pieces):
        raise ValueError(
            f"The corpus has no document for `split={split!r}`; it needs at "
            "least two documents, divided by a blank line."
        )
    is_train = split == "train"

    def rows() -> Iterator[dict[str, npt.NDArray[np.int32]]]:
        rng = np.random.default_rng(seed)
        while True:
            for index in rng.permutation(pieces) if is_train else pieces:
                yield {"targets": corpus.piece(index)}
            if not is_train:
                return

    signature = {"targets": tf.TensorSpec([None], tf.int32)}
    dataset = tf.data.Dataset.from_generator(rows, output_signature=signature)
    with seqio.utils.map_seed_manager(initial_seed=seed):
        if objective == "span_corruption":
            dataset = _span_corruption(dataset, tokenizer, input_length)
        else:
            dataset = _prefix_lm(dataset, tokenizer, input_length)
    dataset = dataset.map(_features, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(batch_size, drop_remainder=True).prefetch(8)


def _span_corruption(
    dataset: tf.data.Dataset, tokenizer: Tokenizer, input_length: int
) -> tf.data.Dataset:
    import seqio
    from t5.data import preprocessors

    check_span_corruption_length(input_length)
    # One place is left for EOS on either side, as T5's own tasks do.
    lengths = {
        "inputs": input_length,
        "targets": span_corruption_target_length(input_length),
    }
    features = _seqio_features(tokenizer)
    dataset = preprocessors.span_corruption(
        dataset,
        lengths,
        features,
        mean_noise_span_length=MEAN_NOISE_SPAN_LENGTH,
        noise_density=NOISE_DENSITY,
        input_feature_key="inputs",
    )
    dataset = seqio.preprocessors.append_eos_after_trim(
        dataset, output_features=features, sequence_length=lengths
    )
    converter = seqio.EncDecFeatureConverter(pack=True)
    return converter(dataset, task_feature_lengths=lengths)


def _prefix_lm(
    dataset: tf.data.Dataset, tokenizer: Tokenizer, length: int
) -> tf.data.Dataset:
    from t5.data import preprocessors

    lengths = {"inputs": length, "targets": length}
    dataset = preprocessors.targets_for_prefix_lm_objective(
        dataset, lengths, _seqio_features(tokenizer)
    )
    # It packs pairs, and stops with an error at an odd end.
    pairs = dataset.batch(2, drop_remainder=True).unbatch()
    return preprocessors.pack_prefix_lm_encoder_decoder(pairs, lengths)


def _seqio_features(tokenizer: Tokenizer) -> dict[str, object]:
    """SeqIO's description of inputs and targets, over our vocabulary."""
    import seqio

    class Vocabulary(seqio.PassThroughVocabulary):
        """Ids only: T5's objectives need the EOS and the vocabulary's end."""

    vocabulary = Vocabulary(
        size=tokenizer.vocabulary_size, eos_id=tokenizer.eos_id
    )
    feature = seqio.Feature(vocabulary=vocabulary, add_eos=True)
    return {"inputs": feature, "targets": feature}


def _features(
    row: dict[str, tf.Tensor],
) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    """SeqIO's packed features under the names that models take."""
    x = {
        "encoder_token_ids": row["encoder_input_tokens"],
        "encoder_padding_mask": row["encoder_segment_ids"] > 0,
        "encoder_segments": row["encoder_segment_ids"],
        "decoder_token_ids": row["decoder_input_tokens"],
        "decoder_segments": row["decoder_segment_ids"],
    }
    weights = tf.cast(row["decoder_loss_weights"], tf.float32)
    return x, row["decoder_target_tokens"], weights
