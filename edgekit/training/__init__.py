"""The model zoo and, later, fine-tuning. TensorFlow may be imported below here."""
