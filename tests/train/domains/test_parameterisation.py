"""What a change does to pictures is what its file does."""

from pathlib import Path

import pytest
import torch

from rs_runtime.contracts.errors import IncompatibleError
from rs_runtime.contracts.tokens import TokenSet, read_token_set
from rs_train.checkpoint import load_model, read_record
from rs_train.domains.codes import Codes
from rs_train.domains.description import DomainDescription
from rs_train.domains.full import FullParameterisation
from rs_train.domains.parameterisation import Parameterisation, add_domain
from rs_train.domains.tokens import TokenParameterisation
from rs_train.generator import Generator, PackedTokens, pack
from rs_train.generator.synthesis import module_name

ABOUT = DomainDescription(name="test", source="a test")


@pytest.fixture
def change(generator: Generator) -> TokenParameterisation:
    torch.manual_seed(0)
    change = TokenParameterisation(generator.table, rank=3)
    with torch.no_grad():
        change.A.uniform_(-0.3, 0.3)
        change.B.uniform_(-0.3, 0.3)
    return change


def written(generator: Generator, change: TokenParameterisation, folder: Path) -> TokenSet:
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


@pytest.mark.parametrize("family", ["tokens", "full"])
def test_a_new_change_is_all_but_none(generator: Generator, codes: Codes, family: str) -> None:
    change: Parameterisation
    if family == "tokens":
        change = TokenParameterisation(generator.table, rank=3)
    else:
        change = FullParameterisation(generator.synthesis, torgb=False)
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
    torch.testing.assert_close(adapted.synthesis(codes.w_plus, codes.tokens), expected)
    z = torch.randn(2, 16)
    torch.testing.assert_close(adapted.mapping(z), generator.mapping(z))


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
