"""Read a model folder: which graphs it holds, what they are, and whether everything in it fits together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from engines import sidefiles
from engines.description import (
    LanguageModelSpec,
    ModelDescription,
    OfflineSpec,
    RescoringSpec,
    SecondPassSpec,
    StreamingSpec,
    TransducerSpec,
)
from engines.errors import BadModel
from engines.families import (
    common,
    decoder,
    icefall,
    icefall_offline,
    icefall_streaming,
    prefix_tree,
    second_pass,
    transducer,
    w1,
    w2,
    w4,
    wenet_cpu,
)
from engines.families.common import Findings, Graph, Inspection, Role
from engines.families.icefall import hears_whisper
from engines.language_model import describe_lm, fitted_lm
from engines.manifest import EncoderManifest, Family, Manifest, fbank_config, read_manifest
from engines.ort import OrtModel, OrtOptions
from speech.features import PROFILES, FbankConfig
from speech.tokens import TokenTable

# The inputs that tell the families' graphs apart; the more specific come first.
SIGNATURES: tuple[tuple[Role, frozenset[str]], ...] = (
    ("W2 encoder", frozenset({"chunk_xs", "att_cache"})),
    ("best-index decoder", frozenset({"encoder_out", "hyps_pad_sos_eos"})),
    ("prefix-tree decoder", frozenset({"encoder_out", "ancestors"})),
    ("scores decoder", frozenset({"encoder_out", "hyps"})),
    ("W1 encoder", frozenset({"speech", "speech_lengths"})),
    ("W3 encoder", frozenset({"chunk", "att_cache"})),
    ("W4 streaming", frozenset({"x", "attn_cache", "conv_cache"})),
    ("W3 ctc", frozenset({"hidden"})),
)
LIKE_W4 = frozenset({"x", "x_lens"})
ENCODERS: tuple[Role, ...] = (
    "W2 encoder", "W1 encoder", "W3 encoder", "W4 streaming", "W4 offline", "icefall streaming", "icefall offline",
)  # fmt: skip
DECODERS: tuple[Role, ...] = ("best-index decoder", "scores decoder")
_REDUCED = ("quant", "int8", "uint8", "fp16", "float16")  # parts of file names; the full-precision twin is preferred
_LOOK = OrtOptions(optimise=False)

Spec = TypeVar("Spec", StreamingSpec, OfflineSpec)


def inspect(folder: Path) -> ModelDescription:
    """Describe the model in `folder`; what is wrong with it is in `problems`. Runs each graph a few times: seconds.

    Raises BadModel only where there is nothing to describe: no such folder, no ONNX file, an unreadable model.toml.
    """
    if not folder.is_dir():
        raise BadModel(f"{folder}: no such folder; a model is a folder with ONNX files and a token file")
    return _Inspector(folder, read_manifest(folder)).describe()


def recognise(model: OrtModel) -> Role | None:
    """Tell what a graph is by its inputs, None when it belongs to no known family."""
    names = frozenset(model.inputs)
    by_name = next((role for role, signature in SIGNATURES if signature <= names), None)
    return by_name or icefall.role_of(model) or ("W4 offline" if names >= LIKE_W4 else None)


class _Inspector:
    """One inspection; collects findings while it goes from graphs to halves to the whole."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.findings = Findings()
        self.inspection = Inspection(manifest, self.findings)

    def describe(self) -> ModelDescription:
        graphs = self._named_graphs() if self.manifest.names_graphs else self._found_graphs()
        self._note_quantised(graphs.values())
        streaming, offline = self._halves(graphs)
        if streaming is None and offline is None and not self.findings.problems:
            self.findings.problem(
                "no encoder that this server knows (WeNet GPU or CPU exports, sherpa-onnx WeNet CTC, icefall "
                "transducers and CTC)"
            )
        spec = self._transducer(graphs, streaming, offline)
        if spec is not None:
            streaming, offline = _with_vocabulary(streaming, spec), _with_vocabulary(offline, spec)
        tokens_path, tokens = self._tokens(graphs)
        if tokens is not None:
            self._check_vocabulary(tokens, streaming, offline)
        rescoring, fbank = self._rescoring(graphs, tokens, streaming, offline), self._fbank(graphs, streaming, offline)
        return ModelDescription(
            folder=self.folder,
            name=self.manifest.name or self.folder.resolve().name,
            language=self.manifest.language,
            summary=self.manifest.description,
            streaming=streaming,
            offline=offline,
            rescoring=rescoring,
            second_pass=self._second_pass(tokens, rescoring, streaming, offline, fbank),
            language_model=None if tokens is None else self._language_model(tokens),
            transducer=spec,
            tokens_path=tokens_path,
            num_tokens=0 if tokens is None else len(tokens),
            fbank=fbank,
            notes=tuple(self.findings.notes),
            problems=tuple(self.findings.problems),
        )

    def _found_graphs(self) -> dict[Role, Graph]:
        """Open every ONNX file of the folder and keep one per role."""
        paths = sorted(self.folder.glob("*.onnx"), key=_preference)
        if not paths:
            raise BadModel(
                f"{self.folder}: no ONNX file; put the exporter's output here or name the graphs in model.toml"
            )
        graphs: dict[Role, Graph] = {}
        for path in paths:
            graph = self._open(path)
            if graph is None:
                continue
            if graph.role in graphs:
                self.findings.note(f"{path.name} is another {graph.role}; {graphs[graph.role].path.name} is used")
            else:
                graphs[graph.role] = graph
        return graphs

    def _named_graphs(self) -> dict[Role, Graph]:
        """Open the graphs that model.toml names, each of which must be what it is named as."""
        named: list[tuple[str, str, tuple[Role, ...]]] = []
        for title, half in (("streaming", self.manifest.streaming), ("offline", self.manifest.offline)):
            if half is not None:
                named.append((f"[{title}] encoder", half.encoder, _roles(title, half)))
                if half.ctc is not None:
                    named.append((f"[{title}] ctc", half.ctc, ("W3 ctc",)))
        if self.manifest.decoder is not None:
            named.append(("[decoder] path", self.manifest.decoder.path, DECODERS))
        if self.manifest.transducer is not None:
            named.append(("[transducer] decoder", self.manifest.transducer.decoder, ("transducer decoder",)))
            named.append(("[transducer] joiner", self.manifest.transducer.joiner, ("transducer joiner",)))
        graphs: dict[Role, Graph] = {}
        for key, name, roles in named:
            graph = self._open(self.folder / name)
            if graph is None:
                continue
            if graph.role not in roles:
                self.findings.problem(f"model.toml: {key} is {name}, a {graph.role}; expected a {' or '.join(roles)}")
            else:
                graphs[graph.role] = graph
        return graphs

    def _open(self, path: Path) -> Graph | None:
        try:
            model = OrtModel(path, _LOOK)
        except BadModel as error:
            self.findings.problem(str(error))
            return None
        role = recognise(model)
        if role is None:
            text = f"{path.name} belongs to no known family (inputs: {', '.join(model.inputs)})"
            (self.findings.problem if self.manifest.names_graphs else self.findings.note)(text)
            return None
        folders = (path.parent, self.folder)
        config = sidefiles.read_yaml("config.yaml", folders, self.findings)
        train = sidefiles.read_yaml("train.yaml", folders, self.findings)
        return Graph(path, model, role, config, train)

    def _note_quantised(self, graphs: Iterable[Graph]) -> None:
        names = [graph.path.name for graph in graphs if transducer.QUANTISED in graph.model.metadata]
        if names:
            self.findings.note(
                f"int8 by ONNX Runtime's quantiser: {', '.join(names)}; if that was the dynamic one, results in a "
                "batch differ a little from results alone"
            )

    def _halves(self, graphs: dict[Role, Graph]) -> tuple[StreamingSpec | None, OfflineSpec | None]:
        streaming: StreamingSpec | None = None
        offline: OfflineSpec | None = None
        for role in ENCODERS:
            graph = graphs.get(role)
            spec = self._half(graph, graphs.get("W3 ctc")) if graph is not None else None
            if isinstance(spec, StreamingSpec):
                streaming = self._keep(streaming, spec)
            elif isinstance(spec, OfflineSpec):
                offline = self._keep(offline, spec)
        return streaming, offline

    def _half(self, graph: Graph, ctc: Graph | None) -> StreamingSpec | OfflineSpec | None:
        half = self._manifest_of(graph)
        if graph.role == "W1 encoder":
            return w1.describe(graph, half, self.inspection)
        if graph.role == "W2 encoder":
            return w2.describe(graph, half, self.inspection)
        if graph.role == "W4 offline":
            return w4.describe(graph, half, self.inspection)
        if graph.role == "icefall streaming":
            return icefall_streaming.describe(graph, half, self.inspection)
        if graph.role == "icefall offline":
            return icefall_offline.describe(graph, half, self.inspection)
        return wenet_cpu.describe_streaming(graph, ctc if graph.role == "W3 encoder" else None, half, self.inspection)

    def _manifest_of(self, graph: Graph) -> EncoderManifest | None:
        for half in (self.manifest.streaming, self.manifest.offline):
            if half is not None and self.folder / half.encoder == graph.path:
                return half
        return None

    def _keep(self, first: Spec | None, second: Spec) -> Spec:
        if first is None:
            return second
        self.findings.note(
            f"{second.encoder.name} ({second.family}) is left unused: {first.encoder.name} does the same"
        )
        return first

    def _tokens(self, graphs: dict[Role, Graph]) -> tuple[Path | None, TokenTable | None]:
        folders = tuple(dict.fromkeys([self.folder, *(graph.path.parent for graph in graphs.values())]))
        path = sidefiles.find_tokens(self.manifest.tokens, folders, self.findings)
        return path, None if path is None else sidefiles.try_read_tokens(path, self.findings)

    def _language_model(self, tokens: TokenTable) -> LanguageModelSpec | None:
        stated = self.manifest.language_model
        if stated is None:
            return None
        path = self.folder / stated.path
        try:
            summary = describe_lm(fitted_lm(path, tokens))
        except BadModel as error:
            self.findings.problem(f"[language_model] {error}")
            return None
        return LanguageModelSpec(path=path, weight=stated.weight, bonus=stated.bonus, summary=summary)

    def _check_vocabulary(
        self, tokens: TokenTable, streaming: StreamingSpec | None, offline: OfflineSpec | None
    ) -> None:
        for spec in (streaming, offline):
            if spec is None:
                continue
            if spec.vocab_size is None:
                self.findings.note(
                    f"{spec.encoder.name}: neither graph nor train.yaml state the size of the vocabulary"
                )
            elif spec.vocab_size not in (len(tokens), tokens.num_scored):
                self.findings.problem(
                    f"{spec.encoder.name} scores {spec.vocab_size} tokens, the token file has {tokens.num_scored}: "
                    f"it belongs to another model"
                )

    def _transducer(
        self, graphs: dict[Role, Graph], streaming: StreamingSpec | None, offline: OfflineSpec | None
    ) -> TransducerSpec | None:
        halves = [half for half in (streaming, offline) if half is not None and half.head == "transducer"]
        if not halves:
            return None
        if any(half is not None and half.head == "ctc" for half in (streaming, offline)):
            self.findings.problem("a streaming and an offline encoder of which one is a transducer and one is not")
            return None
        networks = graphs.get("transducer decoder"), graphs.get("transducer joiner")
        return transducer.describe(*networks, halves, self.inspection)

    def _rescoring(
        self,
        graphs: dict[Role, Graph],
        tokens: TokenTable | None,
        streaming: StreamingSpec | None,
        offline: OfflineSpec | None,
    ) -> RescoringSpec | None:
        graph = next((graphs[role] for role in DECODERS if role in graphs), None)
        sizes = {spec.output_size for spec in (streaming, offline) if spec is not None and spec.output_size is not None}
        if any(spec is not None and spec.head == "transducer" for spec in (streaming, offline)):
            return None
        if graph is None:
            if sizes:
                self.findings.note("no attention decoder: results are those of the CTC search alone")
            return None
        if len(sizes) > 1:
            self.findings.problem(
                f"the encoders' outputs have {' and '.join(map(str, sorted(sizes)))} values per frame"
            )
        if tokens is None or len(sizes) != 1:
            return None
        spec = decoder.describe(graph, tokens, self.inspection, sizes.pop())
        stated = self.manifest.decoder
        if spec is None or stated is None or (stated.left_tree is None and stated.right_tree is None):
            return spec
        left, right = self._tree(stated.left_tree), self._tree(stated.right_tree)
        return prefix_tree.add_trees(spec, left, right, len(tokens), self.findings)

    def _second_pass(
        self,
        tokens: TokenTable | None,
        rescoring: RescoringSpec | None,
        streaming: StreamingSpec | None,
        offline: OfflineSpec | None,
        fbank: FbankConfig,
    ) -> SecondPassSpec | None:
        stated = self.manifest.second_pass
        if stated is None or tokens is None or (streaming is None and offline is None):
            return None
        return second_pass.describe(self.folder, stated, rescoring, tokens, streaming, offline, fbank, self.findings)

    def _tree(self, name: str | None) -> Graph | None:
        graph = None if name is None else self._open(self.folder / name)
        if graph is None or graph.role == "prefix-tree decoder":
            return graph
        self.findings.problem(f"model.toml: [decoder] names {name}, a {graph.role}; expected a prefix-tree decoder")
        return None

    def _fbank(
        self, graphs: dict[Role, Graph], streaming: StreamingSpec | None, offline: OfflineSpec | None
    ) -> FbankConfig:
        spec = streaming or offline
        profile = PROFILES[_profile(spec.family) if spec is not None else "wenet"]
        stated = _stated_front_end(graphs.values())
        if spec is not None and any(hears_whisper(graph.model) for graph in graphs.values()):
            profile = msgspec.structs.replace(PROFILES["whisper"], num_bins=spec.num_bins)
        try:
            # What the training's settings say is a default too: model.toml is the last word.
            config = fbank_config(self.manifest.features, FbankConfig(**{**_fields(profile), **stated}))
        except (BadModel, ValueError) as error:
            self.findings.problem(f"model.toml: {error}")
            return profile
        for half in (streaming, offline):
            if half is not None and half.num_bins != config.num_bins:
                self.findings.problem(
                    f"{half.encoder.name} takes {half.num_bins} mel bins, the front end makes {config.num_bins}; "
                    f"state [features] num_bins in model.toml"
                )
        return config


def _with_vocabulary(half: Spec | None, spec: TransducerSpec) -> Spec | None:
    return None if half is None else msgspec.structs.replace(half, vocab_size=spec.vocab_size)


def _profile(family: Family) -> str:
    if family == "W4":
        return "sherpa-onnx-wenet"
    return "wenet" if family.startswith("W") else "icefall"


def _fields(config: FbankConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__struct_fields__}


def _stated_front_end(graphs: Iterable[Graph]) -> dict[str, Any]:
    """Collect what train.yaml says of the features."""
    found: dict[str, Any] = {}
    for graph in graphs:
        dataset = graph.train.get("dataset_conf") or {}
        fbank, resample = dataset.get("fbank_conf") or {}, dataset.get("resample_conf") or {}
        values = {
            "num_bins": common.as_int(fbank.get("num_mel_bins")),
            "frame_shift_ms": common.as_float(fbank.get("frame_shift")),
            "frame_length_ms": common.as_float(fbank.get("frame_length")),
            "sample_rate": common.as_int(resample.get("resample_rate")),
        }
        found.update({key: value for key, value in values.items() if value is not None})
    return found


def _roles(title: str, half: EncoderManifest) -> tuple[Role, ...]:
    """Roles that an encoder may have; a W3 export is offline or not by its metadata."""
    roles: tuple[Role, ...] = (
        ("W2 encoder", "W3 encoder", "W4 streaming", "icefall streaming")
        if title == "streaming"
        else ("W1 encoder", "W3 encoder", "W4 offline", "icefall offline")
    )
    if half.family is None:
        return roles
    start = half.family if half.family.startswith("W") else "icefall"
    return tuple(role for role in roles if role.startswith(start))


def _preference(path: Path) -> tuple[bool, str]:
    return any(part in path.name for part in _REDUCED), path.name
