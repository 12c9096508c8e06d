"""Is this file a torch checkpoint at all, and if not, what is it?"""

import tarfile
import zipfile

_LFS = b'version https://git-lfs'
_MAGIC = (
    (b'\x89HDF', 'an HDF5 file (Keras?)'),
    (b'\x93NUMPY', 'a numpy array'),
    (b'\x1f\x8b', 'a gzip archive; unpack it first'),
    (b'7z\xbc\xaf', 'a 7z archive; unpack it first'),
    (b'\xfd7zXZ', 'an xz archive; unpack it first'),
    (b'%PDF', 'a PDF'),
    (b'GGUF', 'a GGUF model'),
)


def why_no_checkpoint(path):
    """Look at a file's outside, without unpickling anything.

    Args:
        path (pathlib.Path): An existing file.

    Returns:
        str or None: Why it is no torch checkpoint and what to do about it, or
        None where it looks like one.
    """
    with path.open('rb') as file:
        head = file.read(1024)
    if not head:
        return 'is empty; copy or download it again'
    if head.startswith(b'PK'):
        return _why_no_torch_zip(path)
    if _is_safetensors(head, path.stat().st_size):
        return (
            'is a safetensors file, which this reader does not take; convert it with '
            'torch.save(safetensors.torch.load_file(FILE), DST)'
        )
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return f'is {kind}; a file written by torch.save is needed'
    if tarfile.is_tarfile(path):
        return 'is a tar archive; unpack it, or re-save it with torch.save'
    if head.startswith(b'\x80'):
        return None
    return _why_text(head) or (
        'is of an unknown format; a file written by torch.save is needed'
    )


def _why_no_torch_zip(path):
    if not zipfile.is_zipfile(path):
        return 'is truncated (its end is missing); copy or download it again'
    with zipfile.ZipFile(path) as archive:
        names = [name.rsplit('/', 1)[-1] for name in archive.namelist()]
    if 'constants.pkl' in names:
        return (
            'is a TorchScript program, not a state dict; export the weights with '
            'torch.save(torch.jit.load(FILE).state_dict(), DST)'
        )
    if 'data.pkl' not in names:
        return 'is a zip archive, but not one that torch.save wrote'
    return None


def _is_safetensors(head, size):
    header = int.from_bytes(head[:8], 'little')
    return 0 < header <= size and head[8:9] == b'{'


def _why_text(head):
    text = head.decode('latin1').strip()
    if head.startswith(_LFS):
        return 'is a Git LFS pointer; fetch the file itself with `git lfs pull`'
    if text[:1] == '<':
        return (
            'is a web page (HTML or XML), as a failed download leaves it; download '
            'the checkpoint again'
        )
    if all(byte in b'\t\n\r' or 32 <= byte < 127 for byte in head):
        line = text.splitlines()[0][:60] if text else ''
        return f'is a text file ({line!r}...), not a checkpoint'
    return None
