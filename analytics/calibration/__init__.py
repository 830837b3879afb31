"""Calibration: what the outcomes of visits say of the detectors' leads and scores."""
