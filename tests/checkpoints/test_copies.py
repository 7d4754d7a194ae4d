"""Averages, teachers and target networks are no weights; two networks of one shape are."""

import copy

import pytest
import torch
from torch import nn

from trajscope.checkpoints.namesakes import parts_of
from trajscope.checkpoints.series import find_series
from trajscope.checkpoints.weights import choose_weights
from trajscope.trajectory import open_trajectory


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


class Moco(nn.Module):
    """As in the reference implementation: two encoders and a queue of keys."""

    def __init__(self):
        super().__init__()
        self.encoder_q, self.encoder_k = net(), net(1)
        self.register_buffer("queue", torch.randn(2, 16))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))


class Byol(nn.Module):
    def __init__(self):
        super().__init__()
        self.online_encoder, self.target_encoder = net(), net(1)
        self.online_predictor = nn.Linear(2, 2)


class Agent(nn.Module):
    def __init__(self, *names):
        super().__init__()
        for name in names:
            setattr(self, name, net())


class Centre(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("center", torch.zeros(1, 2))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("conv_proj_q", "conv_proj_k", "conv_proj_v", "k_norm", "q_norm"):
            setattr(self, name, net())


class Averaged(nn.Module):
    """A model beside its average, as torch makes it."""

    def __init__(self):
        super().__init__()
        self.model = net()
        self.ema = torch.optim.swa_utils.AveragedModel(self.model)


def read(tmp_path, state, **options):
    for step in (1, 2):
        torch.save(state, tmp_path / f"step_{step}.pt")
    weights = choose_weights(find_series(tmp_path), **options)
    return {each.name for each in weights.tensors}, {e.name: e.reason for e in weights.left_out}


def starting(names, *prefixes):
    return {name for name in names if name.startswith(prefixes)}


FOLLOWED = {
    "MoCo": (Moco, ("encoder_k.",), "encoder_q"),
    "BYOL": (Byol, ("target_encoder.",), "online_encoder"),
    "SAC": (lambda: Agent("actor", "critic", "critic_target"), ("critic_target.",), "critic"),
    "two critics": (
        lambda: Agent("qf1", "qf2", "qf1_target", "qf2_target"), ("qf1_t", "qf2_t"), "qf1",
    ),
    "DQN": (lambda: Agent("policy_net", "target_net"), ("target_net.",), "policy_net"),
    "another DQN": (lambda: Agent("q_network", "target_network"), ("target_n",), "q_network"),
    "an old policy": (lambda: Agent("policy", "policy_old"), ("policy_old.",), "policy"),
    "momentum": (lambda: Agent("base_encoder", "momentum_encoder"), ("momentum",), "base_encoder"),
    "Mean Teacher": (lambda: Agent("student", "teacher"), ("teacher.",), "student"),
    "EMA": (Averaged, ("ema.",), "model"),
    "deep": (lambda: nn.ModuleDict({"algo": Agent("critic", "critic_target")}),
             ("algo.critic_target.",), "algo.critic"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOLLOWED)
def test_what_follows_the_weights_is_left_out_and_taken_when_asked_for(kind, tmp_path):
    make, prefixes, live = FOLLOWED[kind]
    whole = make()
    parameters = set(dict(whole.named_parameters()))
    followers = starting(parameters, *prefixes)
    assert followers
    names, left = read(tmp_path, whole.state_dict())
    assert names == parameters - followers
    assert f"a copy of '{live}' that follows it" in left.values()
    assert starting(left, *prefixes) >= followers
    assert read(tmp_path, whole.state_dict(), average=True)[0] == followers
    included = read(tmp_path, whole.state_dict(), include=["*"])[0]
    assert included >= parameters


WEIGHTS = {
    "a GAN": lambda: Agent("generator", "discriminator"),
    "a siamese pair": lambda: Agent("left", "right"),
    "source and target": lambda: Agent("source_encoder", "target_encoder"),
    "query and document": lambda: Agent("query_encoder", "document_encoder"),
    "query and key": lambda: Agent("query_encoder", "key_encoder"),
    "attention": Attention,
    "slow and fast": lambda: Agent("slow_path", "fast_path"),
    "average and largest": lambda: Agent("avg_branch", "max_branch"),
    "sliding and full": lambda: Agent("swa_attention", "full_attention"),
    "skip-gram": lambda: nn.ModuleDict(
        {name: nn.Embedding(5, 3) for name in ("target_embedding", "context_embedding")}
    ),
    "a target alone": lambda: Agent("target_net"),
    "a teacher of another shape": lambda: nn.ModuleDict(
        {"student": net(), "teacher": nn.Linear(3, 7)}
    ),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_networks_of_one_shape_without_such_a_name_are_weights(kind, tmp_path):
    whole = WEIGHTS[kind]()
    names, _ = read(tmp_path, whole.state_dict())
    assert names == set(dict(whole.named_parameters()))


def test_the_teacher_and_centre_of_dino_are_left_out(tmp_path):
    student, teacher = net(), copy.deepcopy(net())
    state = {
        "student": {f"module.{name}": each for name, each in student.state_dict().items()},
        "teacher": teacher.state_dict(),
        "dino_loss": Centre().state_dict(),
        "epoch": 1,
    }
    names, left = read(tmp_path, state)
    assert names == {f"student/module.{name}" for name in student.state_dict()}
    assert left["dino_loss/center"] == "a running centre of a teacher's outputs, not a weight"
    assert read(tmp_path, state, average=True)[0] == set(teacher.state_dict())


def test_a_centre_without_a_teacher_is_a_weight(tmp_path):
    state = net().state_dict() | {"center": torch.zeros(1, 2)}
    assert "center" in read(tmp_path, state)[0]


def test_a_target_network_in_a_section_of_its_own_can_be_asked_for(tmp_path):
    live, target = net(), net(1)
    state = {"network": live.state_dict(), "target_network": target.state_dict()}
    assert read(tmp_path, state)[0] == set(live.state_dict())
    assert read(tmp_path, state, average=True)[0] == set(target.state_dict())


def test_a_queue_of_features_is_known_by_its_pointer(tmp_path):
    state = net().state_dict() | {"bank": torch.ones(4, 2), "queue": torch.ones(4, 2)}
    assert read(tmp_path, state)[0] == set(state)
    state["bank_ptr"] = torch.zeros(1, dtype=torch.long)
    assert read(tmp_path, state)[0] == set(state) - {"bank", "bank_ptr"}


def sections(live, average):
    """An average as libraries keep it beside the live weights, and the names of both."""
    return {
        "ema-pytorch": (
            {f"online_model.{name}": each for name, each in live.items()}
            | {f"ema_model.{name}": each for name, each in average.items()}
            | {"initted": torch.tensor(True), "step": torch.tensor(3)},
            "online_model.", "ema_model.",
        ),
        "shadow and backup": ({"backup": live, "shadow": average}, "backup/", "shadow/"),
        "torch_ema": (
            {"decay": 0.9, "shadow_params": list(average.values()),
             "collected_params": list(live.values())},
            "collected_params/", "shadow_params/",
        ),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["ema-pytorch", "shadow and backup", "torch_ema"])
@pytest.mark.parametrize("beside", [{}, {"model": net(2).state_dict()}], ids=["alone", "beside"])
def test_live_weights_in_the_section_of_an_average_are_none(kind, beside, tmp_path):
    content, live, average = sections(net().state_dict(), net(1).state_dict())[kind]
    state = beside | {"ema": content}
    names, left = read(tmp_path, state, average=True)
    assert names == starting(names, average)
    assert len(names) == len(net().state_dict())
    assert {left[name] for name in starting(left, live)} == {
        "a live weight, where averages are asked for"
    }
    names, _ = read(tmp_path, state)
    assert names == (set(beside["model"]) if beside else starting(names, live))
    assert len(names) == len(net().state_dict())


def test_a_target_network_in_a_section_of_averages_is_averaged_too(tmp_path):
    agent = Agent("critic", "critic_target").state_dict()
    assert read(tmp_path, {"ema": agent})[0] == set(agent)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ema_0.999", "an average of the weights"),
        ("ema-0.9", "an average of the weights"),
        ("net_ema_0.9999", "an average of the weights"),
        ("ema_1", "a copy of 'model' that follows it"),
        ("ema_std_0.05", "a copy of 'model' that follows it"),
    ],
)
def test_a_section_of_averages_may_be_called_by_its_decay(name, reason, tmp_path):
    state = {"model": net().state_dict(), name: net(1).state_dict()}
    names, left = read(tmp_path, state)
    assert left == {f"{name}/*": f"{reason} (4 arrays)"}
    assert not [text for text in open_trajectory(tmp_path).attrs["warnings"] if "left out" in text]
    assert read(tmp_path, state, average=True)[0] == names == set(net().state_dict())


def test_numbers_of_layers_are_no_decay():
    assert parts_of("net.0.1.w") == ("net", "0", "1", "w")
    assert parts_of("model/layer_1.0.weight") == ("model", "layer_1", "0", "weight")
    assert parts_of("ema_0.999/fc.w") == ("ema_0.999", "fc", "w")
