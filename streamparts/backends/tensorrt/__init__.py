"""TensorRT: engines are built from models, cached, verified, and run on an NVIDIA GPU."""
