"""What a token parameterisation packs is what its token set says."""

import pytest
import torch

from rs_runtime.contracts.tokens import TokenSet
from rs_train.domains.codes import Codes
from rs_train.domains.parameterisation import TokenParameterisation, add_domain
from rs_train.generator import Generator, PackedTokens, pack


@pytest.fixture
def change(generator: Generator) -> TokenParameterisation:
    torch.manual_seed(0)
    change = TokenParameterisation(generator.table, rank=3)
    with torch.no_grad():
        change.A.uniform_(-0.3, 0.3)
        change.B.uniform_(-0.3, 0.3)
    return change


def token_set(generator: Generator, change: TokenParameterisation) -> TokenSet:
    groups = change.groups()
    return TokenSet(
        kind="domain",
        name="test",
        P=groups.P,
        Q=groups.Q,
        style_offset=groups.style_offset,
        modulation=groups.modulation,
        w_plus=None,
        source="",
        licence="",
        fingerprint=generator.fingerprint(),
        table_hash=generator.table.hash,
    )


def test_factors_carry_each_layers_own_scales(
    generator: Generator, change: TokenParameterisation
) -> None:
    groups = change.groups()
    for n, layer in enumerate(generator.table.convs):
        columns = generator.table.out_slices[layer.name]
        expected = change.A[:, n : n + 1] * change.P[:, columns]
        torch.testing.assert_close(torch.from_numpy(groups.P[layer.name]), expected.detach())
        columns = generator.table.in_slices[layer.name]
        expected = change.B[:, n : n + 1] * change.Q[:, columns]
        torch.testing.assert_close(torch.from_numpy(groups.Q[layer.name]), expected.detach())


def test_packed_equals_packing_the_token_set(
    generator: Generator, change: TokenParameterisation
) -> None:
    packed = change.packed(2)
    expected = pack([token_set(generator, change)], generator.table)
    for n in range(2):
        torch.testing.assert_close(packed.P[n].detach(), expected.P[0])
        torch.testing.assert_close(packed.Q[n].detach(), expected.Q[0])


def test_a_new_change_is_all_but_none(generator: Generator, codes: Codes) -> None:
    change = TokenParameterisation(generator.table, rank=3)
    plain = generator.synthesis(codes.w_plus, codes.tokens)
    changed = generator.synthesis(codes.w_plus, add_domain(codes.tokens, change.packed(6)))
    assert 0 < (plain - changed).abs().max() < 0.1
    assert 0 < change.penalty() < 1e-3


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
    groups = change.groups()
    expected = 0.0
    for layer in generator.table.convs:
        dW = groups.P[layer.name].T @ groups.Q[layer.name]
        expected += float((dW**2).mean()) * layer.in_channels * layer.kernel**2
    assert change.penalty().item() == pytest.approx(expected / len(generator.table.convs), rel=1e-5)
