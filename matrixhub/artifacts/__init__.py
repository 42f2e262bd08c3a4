"""The folder that a trained product is stored in: a manifest, safetensors, plain data; never code.

``folder`` writes one as a whole, ``manifest`` verifies one before anything in it is used, ``content`` says
what it may hold, ``weights`` stores tensors.
"""
