"""Which addresses are read from, and is half a download ever taken for a file?"""

import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from mmmsmlp.checkpoints import load_pretrained, read_checkpoint
from mmmsmlp.errors import CheckpointError


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The folder that downloads go to."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    return tmp_path / 'hub' / 'checkpoints'


@pytest.fixture
def server():
    """Serves ``server.body``, of which it announces ``server.length`` bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.requests.append(self.path)
            self.send_response(200 if server.body else 404)
            self.send_header('Content-Length', str(server.length or len(server.body)))
            self.end_headers()
            self.wfile.write(server.body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.requests, server.body, server.length = [], b'', 0
    server.url = f'http://127.0.0.1:{server.server_port}/files/tiny.pth?download=true'
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def downloads(hub):
    return [path.name for path in hub.iterdir() if not path.name.startswith('.')]


def test_it_is_downloaded_once(tiny, same_weights, hub, server):
    source, target = tiny.build(**tiny.minimal), tiny.build(**tiny.minimal)
    server.body = Path(tiny.save({'model': source.state_dict()})).read_bytes()
    for _ in range(2):
        coverage = load_pretrained(target, server.url)
        same_weights(target, source)
    assert server.requests == ['/files/tiny.pth?download=true']
    assert coverage.file == server.url
    (name,) = downloads(hub)
    assert name.startswith('tiny-') and name.endswith('.pth')
    assert (hub / name).read_bytes() == server.body


def test_several_processes_download_it_once(tiny, hub, server):
    server.body = Path(tiny.save({'w': torch.ones(3)})).read_bytes()
    with ThreadPoolExecutor(4) as pool:
        contents = list(pool.map(read_checkpoint, [server.url] * 4))
    assert [content['w'].tolist() for content in contents] == [[1, 1, 1]] * 4
    assert len(server.requests) == 1


@pytest.mark.parametrize('kind', ['zip', 'legacy'])
@pytest.mark.parametrize('announced', [True, False])
def test_a_download_that_broke_off(tiny, hub, server, kind, announced):
    content = {'model': tiny.build().state_dict()}
    path = tiny.save(content, _use_new_zipfile_serialization=kind == 'zip')
    whole = Path(path).read_bytes()
    server.body = whole[: len(whole) * 2 // 3]
    server.length = len(whole) if announced else 0
    with pytest.raises(CheckpointError, match='truncated|damaged'):
        read_checkpoint(server.url)
    assert downloads(hub) == []
    server.body, server.length = whole, 0
    assert read_checkpoint(server.url)['model'].keys() == content['model'].keys()


def test_a_whole_download_that_is_refused_stays(tiny, hub, server):
    """It is what it is: to fetch it again would give the same."""
    server.body = Path(tiny.save({'epoch': 3})).read_bytes()
    for _ in range(2):
        with pytest.raises(CheckpointError, match='holds no tensors'):
            read_checkpoint(server.url)
    assert len(server.requests) == len(downloads(hub)) == 1


def test_what_is_not_there(hub, server):
    with pytest.raises(CheckpointError, match='cannot be downloaded: HTTP Error 404'):
        read_checkpoint(server.url)
    assert downloads(hub) == []


def test_two_addresses_of_one_file_name(hub, monkeypatch):
    def download(address, file):
        torch.save({'w': torch.tensor([float('other' in address)])}, file)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    for host, expected in (('one', 0), ('other', 1), ('one', 0)):
        content = read_checkpoint(f'HTTPS://{host}.org/model.pth')
        assert content['w'].item() == expected
    assert len(downloads(hub)) == 2


REFUSED = {
    'http': 'give its https address, or download it first',
    'file': 'give the path alone: /x/model.pth',
    **dict.fromkeys(
        ['torchvision', 'modelzoo', 'openmmlab', 'open-mmlab', 'mmcls', 'pavi', 's3',
         'petrel', 'open-mmlab:s3', 'hdfs', 'ftp', 'hf'],
        'download it first and give the local file',
    ),
}  # fmt: skip


@pytest.mark.parametrize(('scheme', 'cure'), REFUSED.items())
def test_other_schemes_are_refused(scheme, cure, monkeypatch):
    monkeypatch.setattr(torch.hub, 'download_url_to_file', None)
    host = '' if scheme == 'file' else 'example.org'
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(f'{scheme}://{host}/x/model.pth')
    assert f'not read from {scheme}:// addresses' in str(error.value)
    assert cure in str(error.value)
