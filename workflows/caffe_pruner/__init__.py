"""The work of vai_p_caffe, as its config says it: analysis, pruning, fine-tuning, transforming."""
