"""Verification: do two networks compute the same?"""
