"""What outputs become without some channels of one group: the nodes behind the group alone run."""
