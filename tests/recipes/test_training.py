"""Training runs of a few steps; they need torch, which only recipes use."""

import csv
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is installed for recipes only")
sentencepiece = pytest.importorskip("sentencepiece")

from recipes.synthesis.shards import Utterance, write_shard  # noqa: E402
from recipes.transducer import train as transducer_train  # noqa: E402
from recipes.transducer.config import HeadConfig  # noqa: E402
from recipes.transducer.head import Head  # noqa: E402
from recipes.transducer.loss import joint_scores, rnnt_log_likelihood  # noqa: E402
from recipes.u2pp import train  # noqa: E402
from recipes.u2pp.config import ModelConfig  # noqa: E402
from recipes.u2pp.loss import encode  # noqa: E402
from recipes.u2pp.model import Model  # noqa: E402

SIZES = {
    "dim": 16,
    "heads": 2,
    "feed_forward": 24,
    "layers": 2,
    "front_channels": (4, 4, 4),
    "decoder_feed_forward": 24,
}
WORDS = ["THE", "CAT", "SAT", "ON", "A", "MAT", "AND", "ATE", "THE", "RAT", "IN", "HER", "HAT"]


class Small(train.Trainer):
    """The real loop around a model of a few thousand parameters."""

    def _configure(self):
        return ModelConfig(vocabulary_size=len(self.tokens), **SIZES)


class SmallTransducer(transducer_train.TransducerTrainer):
    def _configure(self):
        return ModelConfig(vocabulary_size=len(self.tokens), **SIZES)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A folder of noise with transcripts, and word pieces."""
    folder, random = tmp_path_factory.mktemp("training"), np.random.default_rng(1)
    texts = [" ".join(random.choice(WORDS, 5)) for _ in range(60)]
    said = [Utterance(random.normal(8, 3, (random.integers(60, 120), 80)).astype(np.float16), text) for text in texts]
    write_shard(folder / "data" / "hibari-1.npz", said[:50])
    write_shard(folder / "data" / "heldout-mix.npz", said[50:])
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_prefix=str(folder / "bpe"), vocab_size=24, model_type="unigram",
        unk_id=0, bos_id=-1, eos_id=-1, num_threads=1, minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    return folder


def arguments_of(kind, material, output, seed=1, steps=4, world=1, rank=0):
    """Of a run on the CPU."""
    parser = (transducer_train if kind is SmallTransducer else train).parser()
    places = ["--data", material / "data", "--tokens", material / "bpe.model", "--output", output]
    budget = ["--steps", steps, "--clean-steps", 1, "--attention-from", 0.5, "--batch-seconds", 12, "--dropout", 0.1]
    more = ["--seed", seed, "--threads", 1, "--device", "cpu", "--world", world, "--rank", rank]
    return parser.parse_args(list(map(str, places + budget + more)))


def run(kind, arguments):
    """The trainer of a finished run; the process's settings are as before."""
    threads = torch.get_num_threads()
    try:
        return train.run(kind, arguments)
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


def trained(kind, material, output, measures=False, **settings):
    """The weights of a run, averaged ones after a bar; `settings` as in `arguments_of`."""

    class Watched(kind):
        def _report(self, losses):
            super()._report(losses)
            if measures:
                self._measure()
            self._log(losses)

    trainer = run(Watched, arguments_of(kind, material, output, **settings))
    return trainer.model.state_dict() | {f"average|{name}": value for name, value in trainer.average.items()}


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", [Small, SmallTransducer])
def test_equal_seeds_give_equal_weights_and_others_do_not(kind, material, tmp_path):
    first = trained(kind, material, tmp_path / "first")
    assert equal(first, trained(kind, material, tmp_path / "second"))
    assert not equal(first, trained(kind, material, tmp_path / "third", seed=2))


@pytest.mark.parametrize("kind", [Small, SmallTransducer])
def test_processes_that_share_gradients_train_one_model(kind, material, tmp_path):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        runs = [pool.submit(trained, kind, material, tmp_path, world=2, rank=rank) for rank in range(2)]
        first, second = (run.result(timeout=120) for run in runs)
    assert equal(first, second)
    assert not equal(first, trained(kind, material, tmp_path / "alone"))


def test_measuring_on_the_way_which_follows_the_clock_changes_no_weight(material, tmp_path):
    plain = trained(Small, material, tmp_path / "plain")
    assert equal(plain, trained(Small, material, tmp_path / "measured", measures=True))


@pytest.mark.parametrize(("kind", "loss"), [(Small, "attention"), (SmallTransducer, "transducer")])
def test_a_run_leaves_a_log_that_can_be_drawn(kind, loss, material, tmp_path, monkeypatch):
    plot = pytest.importorskip("recipes.u2pp.plot", reason="matplotlib is installed for development and recipes only")
    trained(kind, material, tmp_path, measures=True)
    with (tmp_path / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for name in ("ctc", loss, "held_out_wer"):
        minutes, values = plot.column(rows, name)
        assert len(minutes) == len(values) >= 4
    log = tmp_path / "log.csv"
    twice, _ = plot.column(plot.read_logs([log, log]), loss)
    assert twice == sorted(twice)
    assert len(twice) == 2 * len(plot.column(rows, loss)[0])
    monkeypatch.setattr("sys.argv", ["plot", str(log), str(log), str(tmp_path / "training.png")])
    plot.main()
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")


def test_a_log_ends_with_the_last_step_and_its_error_rate(material, tmp_path):
    trainer = run(Small, arguments_of(Small, material, tmp_path, steps=3))
    with (tmp_path / "log.csv").open() as stream:
        losses, measured = csv.DictReader(stream)
    assert losses["step"] == measured["step"] == "3"
    assert float(losses["ctc"]) > 0
    assert float(measured["held_out_wer"]) == trainer.state.log[-1]["held_out_wer"]


def test_a_resumed_run_goes_on_where_it_was(material, tmp_path):
    trained(Small, material, tmp_path, steps=2)
    trained(Small, material, tmp_path, steps=4)
    with (tmp_path / "log.csv").open() as stream:
        steps = [int(row["step"]) for row in csv.DictReader(stream) if row["ctc"]]
    assert steps == [1, 2, 3, 4]


@pytest.mark.parametrize("encoder", ["conformer", "transformer"])
def test_encoders_and_joiners_keep_to_the_device_of_their_input(encoder):
    """On torch's meta device, which stands in for a GPU: an operation across devices fails there too."""
    conditioned = (1,) if encoder == "transformer" else ()
    config = ModelConfig(vocabulary_size=24, encoder=encoder, conditioned=conditioned, **SIZES)
    model, head = Model(config).to("meta"), Head(HeadConfig(vocabulary_size=24, decoder_dim=8, joiner_dim=8), 16)
    features, lengths = torch.zeros(2, 100, 80, device="meta"), torch.zeros(2, dtype=torch.int64, device="meta")
    for chunk, left in ((8, 4), (-1, -1)):
        output, tapped, counts, valid = encode(model, features, lengths, chunk, left, 1)
        assert {part.device.type for part in (output, tapped, counts, valid)} == {"meta"}
    targets = torch.zeros(2, 5, dtype=torch.int64, device="meta")
    blank, label = joint_scores(head.to("meta"), output, targets)
    assert rnnt_log_likelihood(blank, label, counts, counts).device.type == "meta"
    with pytest.raises(RuntimeError, match="device"):
        encode(model, features, torch.zeros(2, dtype=torch.int64), 8, 4)
