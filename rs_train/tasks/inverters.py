"""Which task trains which inverter, and what configures it."""

from rs_train.tasks.base_inverter import PSPTask, StyleTransformerTask
from rs_train.tasks.e4e import E4ERun, E4ETask
from rs_train.tasks.feature_shift import FeatureShiftTask
from rs_train.tasks.feature_style import FeatureStyleTask
from rs_train.tasks.hfgi import HFGITask
from rs_train.tasks.hyperstyle import HyperStyleTask
from rs_train.tasks.inverter import InverterRun, InverterTask
from rs_train.tasks.one_stage import OneStageTask
from rs_train.tasks.restyle import ReStyleTask
from rs_train.tasks.two_stage import TwoStageTask

TASKS: dict[str, type[InverterTask]] = {
    "style_transformer": StyleTransformerTask,
    "psp": PSPTask,
    "e4e": E4ETask,
    "restyle": ReStyleTask,
    "one_stage": OneStageTask,
    "two_stage": TwoStageTask,
    "hyperstyle": HyperStyleTask,
    "hfgi": HFGITask,
    "feature_style": FeatureStyleTask,
    "feature_shift": FeatureShiftTask,
}
RUNS: dict[str, type[InverterRun]] = dict.fromkeys(TASKS, InverterRun) | {"e4e": E4ERun}
