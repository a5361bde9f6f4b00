"""ReSpike: a ResNet for key frames and a spiking ResNet for what moves between them."""
