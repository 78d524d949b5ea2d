"""Report on encoders' styles: their calibration, how domains act on them, and what that changes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn

from rs_runtime.calibration import divided
from rs_runtime.contracts.calibration import (
    MAX_ALPHA,
    MIN_ALPHA,
    Calibration,
    LayerCalibration,
)
from rs_runtime.contracts.errors import IncompatibleError, NumericsError
from rs_runtime.contracts.files import sha256_hex
from rs_runtime.contracts.tokens import TokenSet
from rs_train.checkpoint import load_model, read_record
from rs_train.domains.calibration import (
    Encode,
    PairedLatents,
    Styles,
    draw_and_encode,
    fit,
    std_ratios,
    styles_of,
)
from rs_train.domains.codes import Codes
from rs_train.generator import Generator
from rs_train.generator.synthesis import module_name
from rs_train.inverters.base import BASE_KINDS, first_latent
from rs_train.inverters.feature_style import FeatureStyleEncoder
from rs_train.inverters.pooling import pool_to
from rs_train.metrics.distances import feature_distance
from rs_train.perceptual.metric import MetricNetwork
from rs_train.tables.calibration_plots import draw_ratios, draw_styles
from rs_train.tables.domains import restyle
from rs_train.tables.heldout import HeldOut
from rs_train.tables.measure import BATCH
from rs_train.tables.page import Result

_ACTION_HEADS = 48  # heads whose kernels are built: at full size one layer has 2.4 M numbers each
AS_IS, BY_ALPHA, BY_SLOPE = "as they are", "divided by alpha", "divided by slope"

_MEANS = ("alpha", "slope", "correlation", "std_ratio")
_ABOUT = """\
{heads} heads (seed {seed}) are drawn without truncation; encoders find styles in their pictures.
`alpha` is the factor that brings the found styles closest to the mapped ones, `slope` that of the
found deviations from the mean on the mapped ones, `correlation` theirs; `std ratio` is the median
over channels of their standard deviations' ratio; then the adaptability: how much alike the domains
act on the kernels of found and of mapped styles, 1 being the same and 0 as far off as without a
domain, for domains as they are, divided by alpha as `--calibrate` has it, and divided by the slope.
All are means over layers. Second table: mean feature distance, on the metric network, of {count}
held-out portraits to the true renders of their scenes, inverted by the encoder's styles alone.
Third: alpha, slope and correlation by layer."""


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One encoder's styles of one layer.

    Attributes:
        encoder: Its name.
        layer: The layer's.
        alpha: See `Fit`, as are slope and correlation.
        slope: Of the deviations.
        correlation: Of the deviations.
        std_ratio: Median over channels of the found over the mapped standard deviation.
        adaptability: See `adaptability`, by what is done to the domains; None for a layer that
            they leave.
    """

    encoder: str
    layer: str
    alpha: float
    slope: float
    correlation: float
    std_ratio: float
    adaptability: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class TruthRow:
    """Held-out portraits, inverted by one encoder, in one domain.

    Attributes:
        encoder: Its name.
        domain: The domain's.
        distance: Mean feature distance to the true renders, by what is done to the domain.
    """

    encoder: str
    domain: str
    distance: Mapping[str, float]


def report(
    generator: Generator,
    encoders: Sequence[Path],
    domains: Mapping[str, tuple[TokenSet, HeldOut]],
    photos: HeldOut,
    network: MetricNetwork,
    heads: int,
    seed: int,
) -> tuple[Result, dict[Path, Calibration]]:
    """Calibrate encoders and measure what that changes.

    Args:
        generator: The generator.
        encoders: Checkpoints of base inverters or Feature-Style-Encoders.
        domains: Token set and true renders by name.
        photos: The same scenes as photos.
        network: The metric network.
        heads: How many heads to draw and invert.
        seed: Of these heads.

    Returns:
        The result, and each encoder's calibration.

    Raises:
        IncompatibleError: A checkpoint of another kind.
        NumericsError: Styles that differ by a factor which cannot be divided by.
    """
    sets = [tokens for tokens, _ in domains.values()]
    layers, truth = [], []
    calibrations, latents = {}, {}
    for path in encoders:
        encode = encode_with(_load_encoder(path), generator)
        latents[path.stem] = draw_and_encode(generator, encode, count=heads, seed=seed)
        rows = layer_rows(path.stem, generator, latents[path.stem], sets)
        calibrations[path] = _calibration(path, generator, rows, heads)
        codes = style_codes(photos.image, generator, encode)
        layers += rows
        truth += truth_rows(path.stem, generator, codes, rows, domains, network)
    result = Result(
        title="Offset calibration",
        about=_ABOUT.format(heads=heads, count=len(photos.image), seed=seed),
        rows=[*layers, *truth],
        table=calibration_markdown(layers, truth),
        pictures={
            "styles": draw_styles(generator, latents),
            "deviations": draw_ratios(generator, latents),
        },
    )
    return result, calibrations


def _load_encoder(path: Path) -> nn.Module:
    kinds = (*BASE_KINDS, FeatureStyleEncoder.kind)
    kind = read_record(path)["kind"]
    if kind not in kinds:
        raise IncompatibleError(f"{path}: not an encoder", found=kind, expected=" or ".join(kinds))
    return load_model(path)


def _calibration(
    path: Path, generator: Generator, rows: Sequence[LayerRow], heads: int
) -> Calibration:
    for row in rows:
        if not MIN_ALPHA <= row.alpha <= MAX_ALPHA:
            raise NumericsError(
                f"{path}: its styles of {row.layer} do not follow the mapped ones",
                found=f"alpha {row.alpha:.3g}",
                expected=f"{MIN_ALPHA:g} to {MAX_ALPHA:g}",
                hint="train the encoder for longer, or draw more heads",
            )
    return Calibration(
        encoder_kind=read_record(path)["kind"],
        encoder_sha256=sha256_hex(path.read_bytes()),
        generator_fingerprint=generator.fingerprint(),
        pictures=heads,
        layers={row.layer: LayerCalibration(row.alpha, row.correlation) for row in rows},
    )


def encode_with(encoder: nn.Module, generator: Generator) -> Encode:
    """From pictures to w_plus, for a base inverter or the styles of a Feature-Style-Encoder."""
    if isinstance(encoder, FeatureStyleEncoder):
        return lambda image: encoder(pool_to(image, encoder.config.image_size)).w_plus
    return lambda image: first_latent(encoder, image, generator.synthesis)


def layer_rows(
    name: str, generator: Generator, latents: PairedLatents, domains: Sequence[TokenSet]
) -> list[LayerRow]:
    """Measure an encoder's styles, layer by layer."""
    mapped, found = (styles_of(generator, own) for own in (latents.mapped, latents.found))
    rows = []
    for layer in mapped:
        own = fit(mapped[layer], found[layer])
        factors = {AS_IS: 1.0, BY_ALPHA: own.alpha, BY_SLOPE: own.slope}
        rows.append(
            LayerRow(
                encoder=name,
                layer=layer,
                **asdict(own),
                std_ratio=float(std_ratios(mapped[layer], found[layer]).median()),
                adaptability={
                    way: adaptability(generator, mapped, found, domains, layer, factor)
                    for way, factor in factors.items()
                },
            )
        )
    return rows


@torch.no_grad()
def adaptability(
    generator: Generator,
    mapped: Styles,
    found: Styles,
    domains: Sequence[TokenSet],
    layer: str,
    alpha: float,
) -> float | None:
    """How much alike domains act on an encoder's styles and on those that they were learned on.

    With k(s) the layer's kernel of unit norm and a domain's action a(s, D) = k(s, D) - k(s),

        A = 1 - sum |a(found, D / alpha) - a(mapped, D)|^2 / sum |a(mapped, D)|^2

    over pictures and domains: 1 where every picture is changed as the one that it was drawn from,
    0 where the difference is as large as the action itself, as it is without any domain.

    Args:
        generator: Gives the static kernels.
        mapped: Styles [M, Cin] by layer.
        found: An encoder's of the same pictures.
        domains: Domains of that generator.
        layer: Name of the layer.
        alpha: What the domains are divided by on the encoder's styles.

    Returns:
        A, at most 1; None where no domain changes the layer.
    """
    module = generator.synthesis.layers[module_name(generator.table.by_name[layer])]
    weight = module.weight * module.weight_gain
    own, other = (styles[layer][:_ACTION_HEADS] for styles in (mapped, found))
    wanted_power, error_power = 0.0, 0.0
    for domain in domains:
        wanted = _action(weight, own, domain, layer, 1.0)
        error = _action(weight, other, domain, layer, alpha) - wanted
        wanted_power += float(wanted.square().sum())
        error_power += float(error.square().sum())
    return None if wanted_power == 0 else 1 - error_power / wanted_power


def _action(weight: Tensor, style: Tensor, domain: TokenSet, layer: str, alpha: float) -> Tensor:
    """The change of the kernels of unit norm, [M, Cout, Cin, k, k]."""
    changed = style
    if layer in domain.style_offset:
        changed = style + torch.from_numpy(domain.style_offset[layer]).float() / alpha
    residual = None
    if layer in domain.P:
        P, Q = (torch.from_numpy(group[layer]).float() for group in (domain.P, domain.Q))
        residual = P.T @ Q / alpha
    return _unit_kernels(weight, changed, residual) - _unit_kernels(weight, style, None)


def _unit_kernels(weight: Tensor, style: Tensor, residual: Tensor | None) -> Tensor:
    kernel = style[:, None, :, None, None] * weight
    if residual is not None:
        kernel = kernel + residual[..., None, None]
    return kernel / kernel.flatten(2).norm(dim=2)[..., None, None, None].clamp(min=1e-8)


def truth_rows(
    name: str,
    generator: Generator,
    codes: Codes,
    layers: Sequence[LayerRow],
    domains: Mapping[str, tuple[TokenSet, HeldOut]],
    network: MetricNetwork,
) -> list[TruthRow]:
    """Restyle inverted portraits and compare them with the true renders.

    Args:
        name: The encoder's name.
        generator: The generator.
        codes: Portraits, inverted by the encoder.
        layers: The encoder's rows.
        domains: Token set and true renders of the same scenes, by name.
        network: The metric network.
    """
    ways = {
        BY_ALPHA: {row.layer: row.alpha for row in layers},
        BY_SLOPE: {row.layer: row.slope for row in layers},
    }
    rows = []
    for domain, (tokens, truth) in domains.items():
        changed = {AS_IS: tokens} | {way: divided(tokens, own) for way, own in ways.items()}
        distance = {
            way: _distance(network, restyle(generator, codes, own), truth.image)
            for way, own in changed.items()
        }
        rows.append(TruthRow(encoder=name, domain=domain, distance=distance))
    return rows


@torch.no_grad()
def _distance(network: MetricNetwork, images: Tensor, truth: Tensor) -> float:
    pairs = zip(images.split(BATCH), truth.split(BATCH), strict=True)
    return float(torch.cat([feature_distance(network, *pair) for pair in pairs]).mean())


@torch.no_grad()
def style_codes(images: Tensor, generator: Generator, encode: Encode) -> Codes:
    """Portraits as latents alone, without tokens or feature maps of their own."""
    w_plus = torch.cat([encode(part).float() for part in images.split(BATCH)])
    table = generator.table
    none = (w_plus.new_zeros(len(w_plus), 0, width) for width in (table.sum_out, table.sum_in))
    return Codes(w_plus, *none)


def calibration_markdown(layers: Sequence[LayerRow], truth: Sequence[TruthRow]) -> str:
    """The tables for a page of results: means by encoder, distances to the truth, layers."""
    ways = (AS_IS, BY_ALPHA, BY_SLOPE)
    encoders = list(dict.fromkeys(row.encoder for row in layers))
    lines = [f"| encoder | alpha | slope | correlation | std ratio | {' | '.join(ways)} |"]
    lines.append("|---" * (5 + len(ways)) + "|")
    for encoder in encoders:
        own = [row for row in layers if row.encoder == encoder]
        means = [fmean(getattr(row, name) for row in own) for name in _MEANS]
        acted = [row.adaptability for row in own if row.adaptability[AS_IS] is not None]
        means += [fmean(row[way] for row in acted) for way in ways]
        lines.append(f"| {encoder} | {' | '.join(f'{value:.3f}' for value in means)} |")
    lines += ["", f"| encoder | domain | {' | '.join(ways)} |", "|---" * (2 + len(ways)) + "|"]
    for row in truth:
        numbers = " | ".join(f"{row.distance[way]:.4f}" for way in ways)
        lines.append(f"| {row.encoder} | {row.domain} | {numbers} |")
    lines += ["", f"| layer | {' | '.join(encoders)} |", "|---" * (1 + len(encoders)) + "|"]
    for layer in dict.fromkeys(row.layer for row in layers):
        cells = [
            f"{r.alpha:.3f}, {r.slope:.3f}, {r.correlation:.3f}" for r in layers if r.layer == layer
        ]
        lines.append(f"| {layer} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
