"""One module per way datasets are laid out."""
