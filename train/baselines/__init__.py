"""The systems that the two papers compare with, each in one file, sharing everything else with the other trainers."""
