"""A library, clips and nights that are disturbed at random, and the checks that nothing came of it."""
