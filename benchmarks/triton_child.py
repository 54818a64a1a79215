"""Triton with one speaker model in its Python backend, for `benchmarks/triton_peer.py`. Runs under Triton's own Python.

    python -m benchmarks.triton_child FOLDER SAMPLES.npy PORT REQUEST EMBEDDING INSTANCES THREADS MAX_BATCH

The model does with our own code what our server does: features, then the ONNX graph on THREADS threads, one graph run
for each batch. Writes to REQUEST the message that tritonclient's users send for the samples, and to EMBEDDING
what tritonclient got for it; then says "ready" and serves until its standard input ends.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from tritonclient.grpc import service_pb2

from engines.ort import OrtOptions
from engines.speaker.describe import inspect_speaker
from engines.speaker.engine import SpeakerEngine, open_speaker

MODEL = "speaker"
QUEUE_DELAY_US = 0  # WeSpeaker's configuration sets none


def instance(engine: SpeakerEngine) -> Any:
    """One model instance's function: WAV (batch, samples) to EMBEDDINGS (batch, dimension)."""

    @batch  # type: ignore[untyped-decorator]
    def infer(WAV: np.ndarray) -> dict[str, np.ndarray]:  # noqa: N803 -- the tensor's name in WeSpeaker's repository
        return {"EMBEDDINGS": engine.embed([engine.features(samples) for samples in WAV])}

    return infer


def request_of(samples: np.ndarray) -> bytes:
    """What tritonclient sends for one file: batch 1, float32, raw bytes."""
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="WAV", datatype="FP32", shape=[1, len(samples)])
    output = service_pb2.ModelInferRequest.InferRequestedOutputTensor(name="EMBEDDINGS")
    raw = [samples.astype("<f4").tobytes()]
    request = service_pb2.ModelInferRequest(model_name=MODEL, inputs=[tensor], outputs=[output], raw_input_contents=raw)
    return bytes(request.SerializeToString())


def ask(port: int, samples: np.ndarray) -> np.ndarray:
    """The embedding that tritonclient gets."""
    tensor = triton_grpc.InferInput("WAV", [1, len(samples)], "FP32")
    tensor.set_data_from_numpy(samples[np.newaxis])
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        answer = client.infer(MODEL, [tensor], outputs=[triton_grpc.InferRequestedOutput("EMBEDDINGS")])
        return np.asarray(answer.as_numpy("EMBEDDINGS")[0])


def main(folder: str, samples_path: str, port: str, request: str, embedding: str, *numbers: str) -> None:
    instances, threads, max_batch = map(int, numbers)
    # The file as a user puts it there, in ONNX Runtime: the kernels of `engines/kernels` are our server's own.
    options = OrtOptions(intra_threads=threads, rewrite=False)
    engine = open_speaker(inspect_speaker(Path(folder)), options, max_batch=max_batch)
    samples = np.load(samples_path).astype(np.float32)
    config = TritonConfig(
        grpc_port=int(port), http_port=int(port) + 1, metrics_port=int(port) + 2, allow_metrics=False,
        grpc_address="127.0.0.1", http_address="127.0.0.1",
    )  # fmt: skip
    with Triton(config=config) as triton:
        triton.bind(
            model_name=MODEL,
            infer_func=[instance(engine) for _ in range(instances)],
            inputs=[Tensor(name="WAV", dtype=np.float32, shape=(-1,))],
            outputs=[Tensor(name="EMBEDDINGS", dtype=np.float32, shape=(engine.dimension,))],
            config=ModelConfig(
                max_batch_size=max_batch, batcher=DynamicBatcher(max_queue_delay_microseconds=QUEUE_DELAY_US)
            ),
        )
        triton.run()
        np.save(embedding, ask(int(port), samples))
        Path(request).write_bytes(request_of(samples))
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
