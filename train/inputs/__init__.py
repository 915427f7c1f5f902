"""From frames to batches: pairs, crops that follow the subject, images with saliency maps, augmentation."""
