"""What a model looks at: feature maps by channel group, class activation maps."""
