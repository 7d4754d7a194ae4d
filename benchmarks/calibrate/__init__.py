"""What benchmarks/calibration.py measures, cell by cell, and the page it writes."""
