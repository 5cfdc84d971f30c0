"""The engines that draw the new person."""
