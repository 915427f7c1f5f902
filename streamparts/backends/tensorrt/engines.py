"""TensorRT engines as files: built from a model, cached for this user, and loaded only if trusted.

An engine is executable code, and fits one library, version and GPU. x.engine is loaded if this user's cache has its
hash as built here, or if the user trusts it explicitly. One that does not fit is rebuilt from the model beside it.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

import msgspec

from streamparts.arrays import ByteArray
from streamparts.backends.tensorrt.cache import EngineCache, cache_folder, digest, write_atomically
from streamparts.backends.tensorrt.info import (
    Machine,
    decode_info,
    encode_info,
    mismatch,
    read_info,
    sidecar_path,
    this_machine,
)
from streamparts.backends.tensorrt.make import Request, make_engine, verify
from streamparts.bundle.engine import BuildOptions, EngineInfo
from streamparts.bundle.load import Bundle, load_onnx
from streamparts.bundle.spec import Precision
from streamparts.errors import ModelError

MAX_ENGINE_BYTES = 4 << 30

_log = logging.getLogger(__name__)


def load_engine(path: str | Path, trust: bool = False) -> Bundle:
    """Load an engine for TensorRtBackend: the one in `path` or, if that does not fit this machine, one built from the
    .onnx file beside it.

    `trust` accepts an engine that this user did not build here: it can run any code. Raises ModelError, with a remedy,
    for an engine that is damaged, untrusted or does not fit; MissingExtraError without TensorRT.
    """
    path = Path(path)
    info = read_info(path)
    plan = _read_plan(path, info)
    machine = this_machine(path.name)
    if (reason := mismatch(info, machine)) is not None:
        return _built_again(path, info, reason)
    cache = EngineCache(cache_folder())
    if not trust and not cache.is_recorded(info.plan_sha256):
        raise ModelError(
            f"{path}: an engine is executable code, and you did not build this one here; give --trust-engine if you "
            "trust its origin, or run the .onnx model, from which an engine is built here"
        )
    engine = Bundle(info.model, path, info.plan_sha256, plan, info)
    return engine if info.verified else _verified_first(engine, info, machine, cache)


def engine_for(
    bundle: Bundle,
    precision: Precision | None = None,
    options: BuildOptions | None = None,
    calibration: ByteArray | None = None,
    made_up: bool = False,
) -> Bundle:
    """Return an engine of an .onnx bundle for this GPU: from this user's cache, or built, compared and cached.

    `precision` None keeps the model's. int8 from an fp32 model needs (F, H, W, 3) `calibration` frames; `made_up` says
    that they are generated, and that the engine is not expected to be as accurate on them. Two processes
    that ask at the same time build it once. Raises ModelError, MissingExtraError.
    """
    if bundle.engine is not None:
        return bundle
    machine = this_machine(bundle.path.name)
    request = Request(
        bundle, precision or bundle.spec.precision, options or BuildOptions(), calibration, made_up=made_up
    )
    cache = EngineCache(cache_folder())
    key = cache_key(request, machine)
    if (found := _cached(cache, key, request)) is not None:
        return found
    with cache.lock(key):
        if (found := _cached(cache, key, request)) is not None:
            return found
        _log.warning("%s: building a TensorRT engine for %s, once", bundle.path.name, machine.gpu.name)
        engine = make_engine(request, machine, cache)
        path = cache.engine_path(key)
        cache.write(path, engine.data)
        cache.write(sidecar_path(path), encode_info(required_info(engine)))
        cache.record(engine.sha256)
    return replace(engine, path=bundle.path)


def cache_key(request: Request, machine: Machine) -> str:
    """Key of everything an engine depends on; not an engine's bytes, which differ between builds, nor the model's
    description: new names need no new engine."""
    frames = request.calibration
    return digest(
        request.bundle.network_sha256,
        machine.library.name,
        machine.library.version,
        machine.gpu.name,
        machine.gpu.compute_capability,
        request.precision,
        msgspec.json.encode(request.options).decode(),
        "" if frames is None else hashlib.sha256(frames.tobytes()).hexdigest(),
    )


def save_engine(engine: Bundle, path: Path) -> None:
    """Write an engine and its description, and record that it was built here. Raises ModelError."""
    write_atomically(sidecar_path(path), encode_info(required_info(engine)))
    write_atomically(path, engine.data)
    EngineCache(cache_folder()).record(engine.sha256)


def required_info(engine: Bundle) -> EngineInfo:
    if engine.engine is None:
        raise ValueError(f"{engine.path} is not an engine")
    return engine.engine


def _cached(cache: EngineCache, key: str, request: Request) -> Bundle | None:
    """Return a cached engine; None without a valid one, which is then replaced."""
    path = cache.engine_path(key)
    plan, text = cache.read(path), cache.read(sidecar_path(path))
    if plan is None or text is None:
        return None
    try:
        info = decode_info(text, sidecar_path(path))
    except ModelError:
        return None
    sha256 = hashlib.sha256(plan).hexdigest()
    bundle = request.bundle
    sound = sha256 == info.plan_sha256 and info.network_sha256 == bundle.network_sha256 and cache.is_recorded(sha256)
    if not sound:
        return None
    spec = msgspec.structs.replace(bundle.spec, precision=request.precision)
    named = msgspec.structs.replace(info, model=spec, onnx_sha256=bundle.sha256)
    return Bundle(spec, bundle.path, sha256, plan, named)


def _read_plan(path: Path, info: EngineInfo) -> bytes:
    try:
        with path.open("rb") as file:
            plan = file.read(MAX_ENGINE_BYTES + 1)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such engine") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    if hashlib.sha256(plan).hexdigest() != info.plan_sha256:
        raise ModelError(
            f"{path}: is not the engine described by {sidecar_path(path).name}: damaged, truncated or replaced; copy"
            " both files again, or build it again"
        )
    return plan


def _built_again(path: Path, info: EngineInfo, reason: str) -> Bundle:
    """Rebuild an engine for this machine from the model beside `path`."""
    model = _model_beside(path, info)
    wanted = replace(info.options, targets=())
    command = f"streamparts build {path.with_suffix('.onnx').name} -o {path.name} --precision {info.precision}"
    if model is None:
        wanted_name = path.with_suffix(".onnx").name
        raise ModelError(f"{path}: {reason}; put the {wanted_name} that it was built from beside it, or run: {command}")
    if info.precision == "int8" and model.spec.precision != "int8":
        raise ModelError(f"{path}: {reason}; build it again with frames: {command} --calibrate VIDEO|FOLDER --force")
    _log.warning("%s: %s; using an engine built here from %s", path, reason, model.path.name)
    return engine_for(model, info.precision, wanted)


def _model_beside(path: Path, info: EngineInfo) -> Bundle | None:
    """Return the exact model that an engine was built from, if it is beside it under the same name; its parts may have
    been renamed."""
    beside = path.with_suffix(".onnx")
    if not beside.is_file():
        return None
    try:
        model = load_onnx(beside)
    except ModelError:
        return None
    same = model.sha256 == info.onnx_sha256 or model.network_sha256 == info.network_sha256
    return model if same else None


def _verified_first(engine: Bundle, info: EngineInfo, machine: Machine, cache: EngineCache) -> Bundle:
    """Compare an engine built without a GPU with its model before its first use."""
    known = cache.is_verified(info.plan_sha256, machine.gpu.compute_capability)
    if not known:
        model = _model_beside(engine.path, info)
        if model is None:
            raise ModelError(
                f"{engine.path}: was built without a GPU and never verified; put the "
                f"{engine.path.with_suffix('.onnx').name} that it was built from beside it"
            )
        _log.warning("%s: was built without a GPU; comparing it with %s, once", engine.path, model.path.name)
        agreement = verify(Request(model, info.precision, info.options), engine)
        cache.record_verified(info.plan_sha256, machine.gpu.compute_capability)
        info = msgspec.structs.replace(info, agreement=agreement)
    return replace(engine, engine=msgspec.structs.replace(info, verified=True))
