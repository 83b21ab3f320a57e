"""Fine-tuning: training a pruned network further, by labels or by what its original computes."""
