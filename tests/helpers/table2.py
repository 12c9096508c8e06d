"""Table 2 of the paper, typed from its page: no test takes it from the product."""

REGIONS = [[1, 1, 3, 5, 7], [1, 3, 3, 5, 7], [1, 5, 5, 5, 7], [1, 7, 7, 7, 7]]
DISTANCES = [0, 1, 2, 3, 4]  # in every stage
DEPTHS = dict(tiny=[3, 3, 9, 3], small=[3, 3, 27, 3], base=[3, 3, 27, 3])
WIDTHS = dict(
    tiny=[96, 192, 384, 768], small=[96, 192, 384, 768], base=[128, 256, 512, 1024]
)
PATCHES = [4, 2, 2, 2]
SIDES = [56, 28, 14, 7]  # of the maps, for images of 224x224
