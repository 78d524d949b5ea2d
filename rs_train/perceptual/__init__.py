"""Networks that look at pictures for the losses and the metrics: CLIP, ArcFace, metric network."""
