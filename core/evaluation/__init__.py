"""Evaluation: how good is a network, by labels or against the original?"""
