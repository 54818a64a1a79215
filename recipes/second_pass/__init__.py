"""A second pass for our U2++ model: Moonshine tiny's decoder (MIT) taught to read what our streaming encoder gives."""
