"""Pages to look at nights and to listen to clips, read as an analyst: `wordwave explore`."""
