"""What a change does to pictures is what its file does."""

from pathlib import Path

import pytest
import torch

from rs_runtime.contracts.errors import IncompatibleError, UsageError
from rs_runtime.contracts.tokens import TokenSet, read_token_set
from rs_train.checkpoint import load_model, read_record
from rs_train.domains.affine_plus import AffinePlusParameterisation
from rs_train.domains.channels import ModulationParameterisation, StyleSpaceParameterisation
from rs_train.domains.codes import Codes
from rs_train.domains.description import DomainDescription
from rs_train.domains.full import FullParameterisation
from rs_train.domains.parameterisation import Parameterisation, add_domain
from rs_train.domains.tokens import TokenParameterisation
from rs_train.generator import Generator, PackedTokens, pack
from rs_train.generator.synthesis import module_name
from rs_train.tasks.domain import FAMILIES, DomainTraining, new_change

ABOUT = DomainDescription(name="test", source="a test")


@pytest.fixture
def change(generator: Generator) -> TokenParameterisation:
    torch.manual_seed(0)
    change = TokenParameterisation(generator.table, rank=3)
    with torch.no_grad():
        change.A.uniform_(-0.3, 0.3)
        change.B.uniform_(-0.3, 0.3)
    return change


def written(generator: Generator, change: Parameterisation, folder: Path) -> TokenSet:
    path = folder / "test.tokens"
    change.write(path, generator, ABOUT, {"licence": "CC0-1.0"})
    return read_token_set(path, table=generator.table, fingerprint=generator.fingerprint())


def test_factors_carry_each_layers_own_scales(
    generator: Generator, change: TokenParameterisation
) -> None:
    P, Q = change.factors()
    for n, layer in enumerate(generator.table.convs):
        columns = generator.table.out_slices[layer.name]
        torch.testing.assert_close(P[:, columns], change.A[:, n : n + 1] * change.P[:, columns])
        columns = generator.table.in_slices[layer.name]
        torch.testing.assert_close(Q[:, columns], change.B[:, n : n + 1] * change.Q[:, columns])


def test_packed_equals_packing_the_token_set(
    generator: Generator, change: TokenParameterisation, tmp_path: Path
) -> None:
    packed = change.packed(2)
    token_set = written(generator, change, tmp_path)
    expected = pack([token_set], generator.table)
    for n in range(2):  # kept in fp16
        torch.testing.assert_close(packed.P[n].detach(), expected.P[0], rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(packed.Q[n].detach(), expected.Q[0], rtol=1e-3, atol=1e-6)
    assert (token_set.name, token_set.source, token_set.licence) == ("test", "a test", "CC0-1.0")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_change_is_all_but_none(generator: Generator, codes: Codes, family: str) -> None:
    training = DomainTraining(parameterisation=family, rank=3, offset_block=16)
    change = new_change(generator, training)
    synthesis = generator.synthesis
    plain = synthesis(codes.w_plus, codes.tokens)
    changed = change.synthesize(synthesis, codes.w_plus, codes.tokens)
    assert (plain - changed).abs().max() < 0.1
    assert 0 <= change.penalty(synthesis) < 1e-3


def test_a_change_starts_from_a_pictures_tokens(
    generator: Generator, codes: Codes, change: TokenParameterisation
) -> None:
    synthesis, heads = generator.synthesis, codes.w_plus
    expected = synthesis(heads[:1], codes[[0]].tokens)
    with torch.no_grad():
        change.A[2:] = 0  # the rows beyond the picture's
    change.start_from(codes[[0]].tokens)
    started = change.synthesize(synthesis, heads[:1], PackedTokens())
    torch.testing.assert_close(started, expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(change.P[:2].square().mean(), torch.tensor(1.0))
    first = generator.table.convs[0].name
    some = PackedTokens(P=codes.P[:1].clone(), Q=codes.Q[:1].clone())
    some.P[..., generator.table.out_slices[first]] = 0
    before = change.P[:2, generator.table.out_slices[first]].clone()
    change.start_from(some)
    assert torch.equal(change.P[:2, generator.table.out_slices[first]], before)
    for tokens in (PackedTokens(), PackedTokens(codes.P.repeat(1, 2, 1), codes.Q.repeat(1, 2, 1))):
        with pytest.raises(IncompatibleError, match="cannot start"):
            change.start_from(tokens)


def test_a_fine_tuned_copy_becomes_a_generator(
    generator: Generator, codes: Codes, tmp_path: Path
) -> None:
    change = FullParameterisation(generator.synthesis, torgb=False)
    learning = {name for name, value in change.named_parameters() if value.requires_grad}
    assert "synthesis.const" in learning
    assert len({name.split(".")[2] for name in learning if "layers" in name}) == 7
    everything = FullParameterisation(generator.synthesis, torgb=True)
    assert all(value.requires_grad for value in everything.parameters())

    with torch.no_grad():
        for layer in generator.table.convs:
            change.synthesis.layers[module_name(layer)].weight += 0.5
    assert change.penalty(generator.synthesis).item() == pytest.approx(0.25, rel=1e-4)
    expected = change.synthesize(generator.synthesis, codes.w_plus, codes.tokens)
    before = generator.fingerprint()
    path = tmp_path / "test.safetensors"
    change.write(path, generator, ABOUT, {"licence": "CC0-1.0"})
    assert generator.fingerprint() == before == read_record(path)["record"]["adapted_from"]
    adapted = load_model(path, expect="generator")
    drawn = adapted.synthesis(codes.w_plus, codes.tokens)
    rounding = 1e-5 * expected.abs().max().item()  # such kernels make values of 50,000
    torch.testing.assert_close(drawn, expected, rtol=0, atol=rounding)
    z = torch.randn(2, 16)
    torch.testing.assert_close(adapted.mapping(z), generator.mapping(z))


def channel_changes(generator: Generator) -> list[Parameterisation]:
    """One of each kind, none of them zero."""
    torch.manual_seed(2)
    changes = [
        StyleSpaceParameterisation(generator.table, torgb=True),
        StyleSpaceParameterisation(generator.table, torgb=False, first_layer=3),
        ModulationParameterisation(generator.table, first_layer=2),
    ]
    for change in changes:
        torch.nn.init.normal_(change.change, std=0.2)
    return changes


def test_a_file_of_channels_draws_what_its_training_drew(
    generator: Generator, codes: Codes, tmp_path: Path
) -> None:
    for change in channel_changes(generator):
        expected = change.synthesize(generator.synthesis, codes.w_plus, codes.tokens)
        plain = generator.synthesis(codes.w_plus, codes.tokens)
        assert (expected - plain).abs().max() > 0.05
        packed = pack([written(generator, change, tmp_path)], generator.table)
        tokens = add_domain(
            codes.tokens, PackedTokens(*(x.expand(6, *x.shape[1:]) for x in packed))
        )
        torch.testing.assert_close(generator.synthesis(codes.w_plus, tokens), expected)


def test_first_layers_are_held_as_they_are(generator: Generator, tmp_path: Path) -> None:
    table = generator.table
    torgb, convs, modulation = (
        written(generator, change, tmp_path) for change in channel_changes(generator)
    )
    assert set(torgb.style_offset) == {layer.name for layer in table.layers}
    assert all(value.all() for value in torgb.style_offset.values())
    assert set(convs.style_offset) == {layer.name for layer in table.convs}
    for layer in table.convs:
        assert convs.style_offset[layer.name].any() == (layer.w_index >= 3)
        assert (modulation.modulation[layer.name] != 1).any() == (layer.w_index >= 2)
    held = StyleSpaceParameterisation(table, torgb=True, first_layer=table.num_ws - 1)
    assert len(held.change) == table.torgbs[-1].in_channels
    with pytest.raises(UsageError, match="nothing to learn"):
        ModulationParameterisation(table, first_layer=len(table.convs))


def test_affine_plus_trains_affine_layers_and_one_block(
    generator: Generator, codes: Codes, tmp_path: Path
) -> None:
    change = AffinePlusParameterisation(generator.synthesis, block=16)
    learning = {name: p for name, p in change.named_parameters() if p.requires_grad}
    affine = sum(
        (generator.config.w_dim + 1) * layer.in_channels for layer in generator.table.layers
    )
    offsets = 16 * 16 + 16 * 16 + 3 * 16
    assert sum(p.numel() for p in learning.values()) == affine + offsets

    kernel = learning["offsets.b16_conv1"]
    with torch.no_grad():
        kernel += torch.randn_like(kernel)
        change.synthesis.layers["b8_conv0"].affine.bias += 0.5
    assert change.penalty(generator.synthesis).item() == pytest.approx(
        (kernel.square().mean().item() + 0.25) / len(generator.table.convs), rel=1e-4
    )
    expected = change.synthesize(generator.synthesis, codes.w_plus, codes.tokens)
    path = tmp_path / "test.safetensors"
    change.write(path, generator, ABOUT, {"licence": "CC0-1.0"})
    adapted = load_model(path, expect="generator").synthesis
    torch.testing.assert_close(adapted(codes.w_plus, codes.tokens), expected)
    added = adapted.layers["b16_conv1"].weight - generator.synthesis.layers["b16_conv1"].weight
    torch.testing.assert_close(added, kernel.detach().expand(-1, -1, 3, 3), atol=1e-6, rtol=1e-4)
    with pytest.raises(UsageError, match="offset_block 64"):
        AffinePlusParameterisation(generator.synthesis)


def test_residuals_of_picture_and_domain_add(
    generator: Generator, codes: Codes, change: TokenParameterisation
) -> None:
    tokens = add_domain(codes.tokens, change.packed(6))
    layer = generator.table.convs[3]
    outs = generator.table.out_slices[layer.name]
    ins = generator.table.in_slices[layer.name]

    def residual(packed: PackedTokens) -> torch.Tensor:
        return torch.einsum("nlo,nli->noi", packed.P[..., outs], packed.Q[..., ins])

    expected = residual(codes.tokens) + residual(change.packed(6))
    torch.testing.assert_close(residual(tokens), expected)


def test_penalty_equals_loops(generator: Generator, change: TokenParameterisation) -> None:
    P, Q = (factor.detach() for factor in change.factors())
    table, expected = generator.table, 0.0
    for layer in table.convs:
        dW = P[:, table.out_slices[layer.name]].T @ Q[:, table.in_slices[layer.name]]
        expected += float((dW**2).mean()) * layer.in_channels * layer.kernel**2
    penalty = change.penalty(generator.synthesis).item()
    assert penalty == pytest.approx(expected / len(table.convs), rel=1e-5)


def test_penalty_of_channels_equals_loops(generator: Generator, tmp_path: Path) -> None:
    change = channel_changes(generator)[0]
    table, expected = generator.table, 0.0
    offsets = written(generator, change, tmp_path).style_offset
    for layer in table.convs:
        module = generator.synthesis.layers[module_name(layer)]
        offset = torch.from_numpy(offsets[layer.name])
        dW = offset[:, None, None] * module.weight * module.weight_gain
        expected += float((dW**2).mean()) * layer.in_channels * layer.kernel**2
    penalty = change.penalty(generator.synthesis).item()
    assert penalty == pytest.approx(expected / len(table.convs), rel=1e-5)
