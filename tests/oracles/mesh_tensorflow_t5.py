"""The third oracle: Mesh TensorFlow's own T5, its variables and its saver.

`mesh_tensorflow.transformer` was written for TensorFlow 1 with its Estimator.
What a forward pass needs of that is the names of the modes, so they are
supplied while it is imported; its package's own list of imports, which wants
TensorFlow Datasets' and TPUs' estimators, is passed over.
"""

import importlib
import sys
import types
from pathlib import Path

import gin
import numpy as np
import tensorflow.compat.v1 as tf1

from keras_prompt.models.mesh import compat, mtf


def _import(name):
    package = "mesh_tensorflow.transformer"
    if package not in sys.modules:
        module = types.ModuleType(package)
        module.__path__ = [str(Path(mtf.__file__).parent / "transformer")]
        sys.modules[package] = module
    modes = types.SimpleNamespace(TRAIN="train", EVAL="eval", PREDICT="infer")
    estimator = types.SimpleNamespace(
        ModeKeys=modes, SessionRunHook=tf1.train.SessionRunHook
    )
    with compat._supplied(tf1, "estimator", estimator):
        return importlib.import_module(f"{package}.{name}")


_NORMS = {
    "layer_norm": (
        "sublayer_legacy_rms_norm",
        "sublayer_legacy_final_rms_norm",
    ),
    "rms_norm": ("sublayer_rms_norm", "sublayer_rms_norm"),
}


class MeshT5:
    """A random T5 that Mesh TensorFlow made, and saved in a folder.

    Args:
        config: our `T5Config`.
        folder: for `model.ckpt-3`.
        norms: which of the two published namings.
        combine_dims: whether attention kernels have heads and width fused.
    """

    def __init__(self, config, folder, norms="rms_norm", combine_dims=True):
        self.config = config
        self._transformer = _import("transformer")
        _import("transformer_layers")
        norm, final = _NORMS[norms]
        is_gated = config.feed_forward == "gated-gelu"
        common = [
            f"d_model = {config.d_model}",
            f"DenseReluDense.hidden_size = {config.d_ff}",
            "DenseReluDense.activation = "
            + ("['gelu', 'linear']" if is_gated else "'relu'"),
            f"SelfAttention.num_heads = {config.num_heads}",
            f"SelfAttention.key_value_size = {config.d_kv}",
            "SelfAttention.relative_attention_type = 'bias_shared'",
            "SelfAttention.relative_attention_num_buckets = "
            f"{config.num_buckets}",
            f"SelfAttention.combine_dims = {combine_dims}",
            "Unitransformer.d_model = %d_model",
            "Unitransformer.max_length = 512",
            "Unitransformer.positional_embedding = False",
            "Unitransformer.shared_embedding_and_softmax_weights = "
            f"{config.is_tied}",
            "Bitransformer.shared_embedding = True",
            "LayerStack.sublayers_initial = []",
            f"LayerStack.sublayers_final = [@transformer.{final}]",
            "LayerStack.sublayers_per_layer = "
            f"[@transformer.{norm}, @transformer.sublayer_call_layer, "
            "@transformer.sublayer_residual]",
            "encoder/make_layer_stack.layers = "
            "[@transformer_layers.SelfAttention, "
            "@transformer_layers.DenseReluDense]",
            "decoder/make_layer_stack.layers = "
            "[@transformer_layers.SelfAttention, "
            "@transformer_layers.EncDecAttention, "
            "@transformer_layers.DenseReluDense]",
        ]
        for stack, layers in (
            ("encoder", config.num_encoder_layers),
            ("decoder", config.num_decoder_layers),
        ):
            common.append(f"{stack}/make_layer_stack.num_layers = {layers}")
        self._bindings = "\n".join(common)
        self._path = str(folder / "model.ckpt-3")
        folder.mkdir(parents=True)
        ids = np.array([[3, 1]])
        self._run(ids, ids, is_first=True)

    def logits(self, ids, decoder_ids):
        """int (1, S), (1, T) to float32 (1, T, V)."""
        return self._run(ids, decoder_ids)

    def _run(self, ids, decoder_ids, is_first=False):
        with gin.unlock_config():
            gin.clear_config()
            gin.parse_config(self._bindings)
        with tf1.Graph().as_default(), tf1.Session() as session:
            tf1.set_random_seed(5)
            fetch, lowering = self._graph(ids, decoder_ids)
            session.run(tf1.global_variables_initializer())
            saver = tf1.train.Saver(tf1.global_variables())
            if is_first:
                for variable in tf1.trainable_variables():
                    if variable.op.name.endswith("/scale"):
                        noise = np.random.RandomState(1).rand(*variable.shape)
                        variable.load(0.5 + noise.astype("f"), session)
                saver.save(session, self._path, write_meta_graph=False)
            else:
                saver.restore(session, self._path)
            session.run(lowering.copy_masters_to_slices())
            return session.run(fetch)

    def _graph(self, ids, decoder_ids):
        model = self._transformer.make_bitransformer(
            input_vocab_size=self.config.vocab_size,
            output_vocab_size=self.config.vocab_size,
        )
        graph = mtf.Graph()
        mesh = mtf.Mesh(graph, "mesh")
        batch = mtf.Dimension("batch", 1)

        def imported(value, name):
            length = mtf.Dimension("length", value.shape[1])
            tensor = tf1.constant(value, tf1.int32)
            shape = mtf.Shape([batch, length])
            return mtf.import_tf_tensor(mesh, tensor, shape=shape, name=name)

        # It shifts right itself, and the last target is of no account.
        targets = np.concatenate([decoder_ids[:, 1:], [[2]]], axis=1)
        logits, _ = model.call_simple(
            inputs=imported(ids, "inputs"),
            targets=imported(targets, "targets"),
            compute_loss=False,
            mode="eval",
            encoder_sequence_id=imported(np.ones_like(ids), "encoder_ones"),
            decoder_sequence_id=imported(np.ones_like(targets), "ones"),
        )
        impl = importlib.import_module(
            "mesh_tensorflow.placement_mesh_impl"
        ).PlacementMeshImpl(mtf.Shape([]), mtf.LayoutRules(set()), [""])
        lowering = mtf.Lowering(graph, {mesh: impl})
        fetch = lowering.export_to_tf_tensor(logits)
        return fetch, lowering
