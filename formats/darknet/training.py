"""Keys that Darknet reads, but that do not affect inference. Source: parser.c."""

from __future__ import annotations

__all__ = ["TRAINING_KEYS"]

TRAINING_KEYS = frozenset(
    {
        "absolute", "adam", "adversarial_lr", "angle", "aspect", "assisted_excitation",
        "attention", "augment_speed", "B1", "B2", "badlabels_rejection_percentage", "batch",
        "beta_nms", "bias_match", "bin_output", "binary", "blur", "burn_in", "burnin_update",
        "center", "class_scale", "classfix", "cls_normalizer", "contrastive", "contrastive_color",
        "contrastive_jit_flip", "coord_scale", "counters_per_class", "cudnn_half", "cutmix",
        "decay", "delta_normalizer", "dets_for_show", "dets_for_track", "dontsave", "dot",
        "dropblock", "dropblock_size", "dropblock_size_abs", "dropblock_size_rel",
        "dynamic_minibatch", "ema_alpha", "ema_start", "embedding_layer", "eps",
        "equidistant_point", "exposure", "flip", "focal_loss", "forced", "gamma",
        "gaussian_noise", "gpu_index", "grad_centr", "hue", "ignore_thresh",
        "init_sequential_subdivisions", "iou_loss", "iou_normalizer", "iou_thresh",
        "iou_thresh_kind", "jitter", "label_smooth_eps", "learning_rate", "log", "log_step",
        "loss_scale", "map", "mask", "mask_scale", "max", "max_batches", "max_crop", "max_delta",
        "max_epochs", "max_ratio", "maximum", "maxpool_zero_nonmax", "mean", "min_crop",
        "min_ratio", "mixup", "momentum", "mosaic", "mosaic_bound", "nms_kind", "noloss", "noobj",
        "noobject_scale", "notruth", "num_sigmas_reject_badlabels", "num_steps_xy",
        "obj_normalizer", "object_scale", "objectness_smooth", "onlyforward", "optimized_memory",
        "policy", "power", "probability", "random", "ratio", "reject_threshold", "reorg",
        "rescore", "resize", "resize_step", "reverse", "rotate", "saturation", "scale", "scales",
        "seq_scales", "sequential_subdivisions", "sgdr_cycle", "sgdr_mult", "shift",
        "show_details", "show_receptive_field", "sim_thresh", "spatial", "sqrt", "std", "step",
        "steps", "stopbackward", "stretch", "stretch_sway", "subdivisions", "sway", "thresh",
        "time_normalizer", "time_steps", "track", "track_ciou_norm", "track_history_size",
        "train_only_bn", "trainable", "truth_thresh", "try_fix_nan", "type", "uc_normalizer",
        "unsupervised", "wait_stream", "weights_reject_freq", "workspace_size_limit_MB",
        "yolo_point",
    }
)  # fmt: skip
"""Keys of all sections: about training, augmentation, display and the decoding of boxes."""
