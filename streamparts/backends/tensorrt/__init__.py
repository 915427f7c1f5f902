"""TensorRT: engines built from models, kept, checked and run on an NVIDIA GPU."""
