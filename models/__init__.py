"""The compute side: a frozen T5 in Mesh TensorFlow. It knows no task."""

if __name__ != "keras_prompt.models":
    raise ImportError("Import keras_prompt.models, not models.")
