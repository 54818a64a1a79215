"""The transducer loss of the recipes against sums over all paths; needs torch, which only recipes use."""

import itertools

import pytest

torch = pytest.importorskip("torch", reason="torch is installed for recipes only")

from recipes.transducer.config import HeadConfig  # noqa: E402
from recipes.transducer.head import Head  # noqa: E402
from recipes.transducer.loss import joint_scores, rnnt_log_likelihood, rnnt_loss  # noqa: E402


def brute_force(blank, label, frames, tokens):
    """Sum over all orders of `frames` blanks, the last of them at the end, and `tokens` labels."""
    paths = []
    for places in itertools.combinations(range(frames + tokens - 1), tokens):
        time = token = 0
        score = blank.new_zeros(())
        for step in range(frames + tokens):
            if step in places:
                score, token = score + label[time, token], token + 1
            else:
                score, time = score + blank[time, token], time + 1
        paths.append(score)
    return torch.logsumexp(torch.stack(paths), 0)


@pytest.mark.parametrize("seed", range(5))
def test_likelihood_and_gradient_equal_the_sum_over_all_paths(seed):
    torch.manual_seed(seed)
    frames, tokens = torch.tensor([4, 2, 3]), torch.tensor([3, 1, 0])
    scores = torch.randn(3, 4, 4, 6, dtype=torch.float64, requires_grad=True)
    log_probs = scores.log_softmax(-1)
    blank, label = log_probs[..., 0], log_probs[:, :, :-1, 1]
    expected = torch.stack([brute_force(blank[i], label[i], int(frames[i]), int(tokens[i])) for i in range(3)])
    found = rnnt_log_likelihood(blank, label, frames, tokens)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(expected.sum(), scores, retain_graph=True)
    (ours,) = torch.autograd.grad(found.sum(), scores)
    torch.testing.assert_close(ours, gradient)
    assert ours[1, 2:].abs().sum() == 0, "frames beyond a row's end have no gradient"


def test_loss_goes_down_a_step_along_its_gradient():
    torch.manual_seed(0)
    head = Head(HeadConfig(vocabulary_size=7, decoder_dim=8, joiner_dim=8), 5)
    encoded, frames, tokens = torch.randn(2, 6, 5), torch.tensor([6, 4]), [[3, 4, 5], []]
    before = rnnt_loss(head, encoded, frames, tokens)
    before.backward()
    with torch.no_grad():
        for value in head.parameters():
            value -= 0.05 * value.grad
    assert rnnt_loss(head, encoded, frames, tokens) < before


def test_probabilities_of_all_short_outputs_sum_to_one_at_most():
    """Two frames, two tokens: all label sequences up to length 6 hold nearly all probability."""
    torch.manual_seed(1)
    head = Head(HeadConfig(vocabulary_size=3, decoder_dim=4, joiner_dim=4), 5)
    with torch.no_grad():
        head.output.bias[0] = 2.0
        encoded, total = torch.randn(1, 2, 5), 0.0
        for length in range(7):
            for row in itertools.product((1, 2), repeat=length):
                targets = torch.tensor([row or (0,)])
                blank, label = joint_scores(head, encoded, targets)
                likelihood = rnnt_log_likelihood(blank, label, torch.tensor([2]), torch.tensor([length]))
                total += likelihood.exp().item()
    assert 0.95 < total <= 1.0 + 1e-6
