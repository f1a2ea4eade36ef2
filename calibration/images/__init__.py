"""The images of a calibration: which are drawn, what is wrong with them, what identifies them."""
