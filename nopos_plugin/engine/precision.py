"""Training in half precision: what is asked for, and nothing lost where numbers are added up."""

import functools
import sys

import torch
import torch.nn.functional as F
from fairseq import optim, options
from fairseq.criterions.adaptive_loss import AdaptiveLoss
from fairseq.distributed import LegacyDistributedDataParallel
from fairseq.optim import fp16_optimizer
from fairseq.trainer import Trainer


def train_in_bfloat16_without_tpu():
    """--bf16 and --memory-efficient-bf16 imply --tpu, and die on CPUs and GPUs ('NoneType' object
    has no attribute 'xla_device'). Both. Who asks for --tpu as well still gets one.
    """
    parse = options.parse_args_and_arch

    @functools.wraps(parse)
    def parse_args_and_arch(parser, input_args=None, parse_known=False, *args, **kwargs):
        parsed = parse(parser, input_args, parse_known, *args, **kwargs)
        found = parsed[0] if parse_known else parsed
        typed = sys.argv[1:] if input_args is None else input_args
        if getattr(found, "tpu", False) and "--tpu" not in typed:
            found.tpu = False
        return parsed

    options.parse_args_and_arch = parse_args_and_arch


def refuse_memory_efficiency_alone():
    """--memory-efficient-fp16 implies --fp16, but not under hydra, which trains in float32 then
    without a word; bf16 likewise. Both.
    """
    init = Trainer.__init__

    @functools.wraps(init)
    def __init__(self, cfg, *args, **kwargs):
        for kind in ("fp16", "bf16"):
            if cfg.common[f"memory_efficient_{kind}"] and not cfg.common[kind]:
                raise ValueError(
                    f"common.memory_efficient_{kind}=true alone would train in float32: give "
                    f"common.{kind}=true as well"
                )
        init(self, cfg, *args, **kwargs)

    Trainer.__init__ = __init__


def reduce_gradients_by_dtype():
    """legacy_ddp adds gradients up in a buffer of the first parameter's dtype.

    In half precision a float32 gradient of 1e5 (KERPLE's, T5's) became infinite, one of 3e-9 zero.
    Both. Models of one dtype are left to it.
    """
    reduce = LegacyDistributedDataParallel.all_reduce_grads

    @functools.wraps(reduce)
    def all_reduce_grads(self):
        every = self.per_device_params
        dtypes = dict.fromkeys(p.dtype for params in every for p in params)
        if len(dtypes) == 1:
            return reduce(self)
        buffers = self.__dict__.setdefault("buffers", {})
        for dtype in dtypes:
            self.per_device_params = [[p for p in params if p.dtype == dtype] for params in every]
            if dtype not in buffers:
                count = sum(p.numel() for params in self.per_device_params for p in params)
                buffers[dtype] = every[0][0].new_empty(min(self.buffer_size, count), dtype=dtype)
            self.buffer = buffers[dtype]
            reduce(self)
        self.per_device_params = every

    LegacyDistributedDataParallel.all_reduce_grads = all_reduce_grads


def explain_flattened_fp16():
    """--fp16 alone makes one tensor of all parameters, on a GPU; on a CPU it ends with 'Torch not
    compiled with CUDA enabled'. Both.
    """
    copy_params = optim.FP16Optimizer.build_fp32_params.__func__

    @functools.wraps(copy_params)
    def build_fp32_params(cls, cfg, params, flatten=True):
        if flatten and params[0].device.type == "cpu":
            raise ValueError(
                "--fp16 alone needs a GPU: on a CPU add --fp16-no-flatten-grads, or give "
                "--memory-efficient-fp16 or --bf16"
            )
        return copy_params(cls, cfg, params, flatten)

    optim.FP16Optimizer.build_fp32_params = classmethod(build_fp32_params)


def resume_in_float32():
    """--fp16 and --bf16 go on from the float32 parameters that they train.

    Both save those in half precision alone, so that a resumed training was another one.
    """
    mixin = fp16_optimizer._FP16OptimizerMixin
    save, load = mixin.state_dict, mixin.load_state_dict

    def copies(optimizer):
        flat = optimizer.fp32_params
        return list(flat.values()) if isinstance(flat, dict) else list(flat)

    @functools.wraps(save)
    def state_dict(self):
        return {**save(self), "fp32_params": [copy.detach() for copy in copies(self)]}

    @functools.wraps(load)
    def load_state_dict(self, state_dict, optimizer_overrides=None):
        state_dict = dict(state_dict)
        saved = state_dict.pop("fp32_params", None)  # older checkpoints have none
        load(self, state_dict, optimizer_overrides)
        if saved is not None:
            for copy, value in zip(copies(self), saved, strict=True):
                copy.data.copy_(value)

    mixin.state_dict, mixin.load_state_dict = state_dict, load_state_dict


def sum_adaptive_losses_in_float32():
    """--criterion adaptive_loss adds the losses of a batch up in the dtype of the model.

    A sum in float16 ends at 65,504: the loss of 32,768 tokens was infinite, in the log and in the
    choice of the best checkpoint. Both. In float32 the numbers are the engine's bit for bit.
    """

    @functools.wraps(AdaptiveLoss.forward)
    def forward(self, model, sample, reduce=True):
        if model.decoder.adaptive_softmax is None:
            raise ValueError("--criterion adaptive_loss needs --adaptive-softmax-cutoff")
        output = model(**sample["net_input"])
        target = model.get_targets(sample, output)
        clusters = model.decoder.adaptive_softmax(output[0], target.view(-1))
        wide = torch.promote_types(output[0].dtype, torch.float32)
        loss = output[0].new_zeros(1 if reduce else target.numel(), dtype=wide)
        for logits, of_cluster in zip(*clusters, strict=True):
            if of_cluster is not None:
                loss += F.cross_entropy(
                    logits.to(wide),
                    of_cluster,
                    ignore_index=self.padding_idx,
                    reduction="sum" if reduce else "none",
                )
        ntokens = int(target.ne(self.padding_idx).sum())
        sample_size = target.size(0) if self.sentence_avg else ntokens
        logging_output = {
            **{"loss": loss.data, "ntokens": ntokens},
            **{"nsentences": target.size(0), "sample_size": sample_size},
        }
        return loss, sample_size, logging_output

    AdaptiveLoss.forward = forward
