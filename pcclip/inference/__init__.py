"""The tuned model in use: difference, ranking, search; Python, command line and a local page.

Example:
    >>> import pcclip
    >>> model = pcclip.load("runs/shapes-differences/seed0", cache="data/cache")
    >>> base = pcclip.load("runs/shapes-differences/seed0", stage="base", cache="data/cache")

    What differs between two pictures, in the space of image embeddings and in words:

    >>> direction = model.difference("photos/a.jpg", "photos/b.jpg")
    >>> text, score = model.describe("photos/a.jpg", "photos/b.jpg", ["it is larger", "it is darker"])[0]

    A folder in the order of a difference; a model that was not finetuned takes both ends of it:

    >>> for picture, score, number in model.rank("photos", "the animal is larger", top=1):
    ...     print(f"first comes {picture}, {score:.3f}")
    first comes ....jpg, ...
    >>> first = base.rank("photos", "a large animal", opposite="a small animal", top=1)[0]

    A picture like one, but different:

    >>> found = model.search("photos", like="photos/a.jpg", but="with more snow", weight=3.0)
    >>> "a.jpg" in [placed.picture for placed in found]
    False
"""
