"""Tests of the estimators around Gaussian processes."""
