"""How are many tensors named in one line?"""

from ..errors import join_some


def part_of(key):
    """Cut a key to the part that a reader knows: 'stages.3', 'head.fc', 'norm1'."""
    return '.'.join(key.split('.')[:-1][:2])


def count_by_part(parts, count=5):
    """Write {'head.fc': 2} as 'head.fc (2)'."""
    return join_some([f'{name} ({number})' for name, number in parts.items()], count)


def compare_tensors(own, given, optional=()):
    """Say in what ``given`` differs from what ``own`` needs.

    Args:
        own (dict[str, torch.Tensor]): The state dict that is to be filled.
        given (dict[str, torch.Tensor]): The tensors at hand.
        optional (Collection[str]): Keys of ``own`` that may be missing.

    Returns:
        list[str]: One phrase for what is missing, one for other shapes, one for
        unknown keys; empty where all fits.
    """
    missing = [key for key in own if key not in given and key not in optional]
    unknown = [key for key in given if key not in own]
    shapes = [
        f'{key} is {_shape(tensor)} in the file and {_shape(own[key])} in the model'
        for key, tensor in given.items()
        if key in own and tensor.shape != own[key].shape
    ]
    problems = []
    if missing:
        names = [f'{key} {_shape(own[key])}' for key in missing]
        problems.append(
            f'missing {len(missing)} of {len(own)} tensors: {join_some(names)}'
        )
    if shapes:
        problems.append(f'another shape for {len(shapes)}: {join_some(shapes)}')
    if unknown:
        names = [f'{key} {_shape(given[key])}' for key in unknown]
        problems.append(f'no place for {len(unknown)}: {join_some(names)}')
    return problems


def _shape(tensor):
    return tuple(tensor.shape)
