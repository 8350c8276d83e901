"""Another moment than now: the slider, and where its keys lead."""
