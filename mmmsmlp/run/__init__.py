"""What the commands of tools/ call; nothing else imports this."""
