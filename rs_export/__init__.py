"""PyTorch checkpoints to bundles of portable ONNX graphs, proven equal by value."""
