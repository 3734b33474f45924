"""A small tuning run, for processes that are killed."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def run(folder, vocabulary):
    """Trains 30 steps, or what is left of them."""
    from keras_prompt.losses import TokenCrossentropy
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
    from keras_prompt.models.t5.backbone import MeshT5Backbone
    from keras_prompt.models.t5.config import T5Config
    from keras_prompt.optimizers import Adafactor
    from keras_prompt.tasks.pipeline import make_dataset
    from keras_prompt.tasks.sources import RowsSource
    from keras_prompt.tasks.task import Task
    from keras_prompt.tokenizer import Tokenizer
    from keras_prompt.training.checkpoint import PromptCheckpoint
    from keras_prompt.training.evaluator import TaskEvaluator

    rows = [
        {
            "inputs": f"the film is {'good' if i % 2 else 'dull'} {i}",
            "targets": "positive" if i % 2 else "negative",
        }
        for i in range(40)
    ]
    task = Task(
        "toy",
        RowsSource({"train": rows, "validation": rows[:6]}),
        labels=("negative", "positive"),
    )
    tokenizer = Tokenizer.from_file(vocabulary)
    config = T5Config(tokenizer.vocabulary_size, 16, 4, 24, 2, 2, 1)
    # Dropout, so that its noise must be resumed too.
    backbone = MeshT5Backbone(config, seed=1, dropout_rate=0.1)
    model = PromptTunedT5(backbone, tokenizer, prompt_length=3)
    model.initialize_prompt(lambda table, *_: table[5:8])
    model.compile(optimizer=Adafactor(0.3), loss=TokenCrossentropy())
    train = make_dataset(
        task,
        "train",
        tokenizer,
        input_length=16,
        target_length=12,
        batch_size=8,
        repeat=True,
    )
    model.fit(
        train,
        epochs=3,
        steps_per_epoch=10,
        callbacks=[
            PromptCheckpoint(folder, every_steps=2),
            TaskEvaluator(task, answer_by="rank", verbose=False),
        ],
        verbose=0,
    )


def run_bank(folder, preset):
    """Tunes two tasks together for 30 steps, or what is left of them."""
    from keras_prompt import tasks
    from keras_prompt.training.config import TuneConfig
    from keras_prompt.training.tune_bank import tune_bank

    for name, word in (("set/a", "good"), ("set/b", "very dull")):
        rows = [
            {
                "inputs": f"the film is {word if i % 2 else 'dull'} {i}",
                "targets": "positive" if i % 2 else "negative",
            }
            for i in range(40)
        ]
        source = tasks.RowsSource({"train": rows, "validation": rows[:6]})
        labels = ("negative", "positive")
        tasks.register(tasks.Task(name, source, labels=labels))
    config = TuneConfig(
        task=("set/a", "set/b"),
        preset=preset,
        output=folder,
        prompt_length=3,
        steps=30,
        evaluate_every=10,
        checkpoint_every=2,
        batch_size=4,
        input_length=16,
        target_length=12,
        dropout_rate=0.1,
        answer_by="rank",
    )
    tune_bank(config, verbose=False)
