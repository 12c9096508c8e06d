"""Is data that no layout fits called by the name of the tool that wrote it?"""

import json

import pytest

from mmmsmlp.errors import BadInput

SHAPE = dict(label='cup', points=[[1, 2], [3, 4]], shape_type='rectangle')
VIA = {'1.jpg99': dict(filename='1.jpg', size=99, regions=[], file_attributes={})}
CREATE_ML = [dict(image='1.jpg', annotations=[dict(label='cup', coordinates={})])]
LABEL_STUDIO = [dict(id=1, data=dict(image='1.jpg'), annotations=[])]
WRITTEN = {
    'labelme JSON': ('1.json', dict(version='5', shapes=[SHAPE], imagePath='1.jpg')),
    'VGG Image Annotator': ('via_region_data.json', VIA),
    'CreateML': ('_annotations.createml.json', CREATE_ML),
    'Label Studio': ('project.json', LABEL_STUDIO),
    'Supervisely': ('1.jpg.json', dict(objects=[], size=dict(height=9, width=9))),
    'BDD100K': ('labels.json', [dict(name='1.jpg', labels=[])]),
    'a table of boxes': ('_annotations.csv', 'filename,class,xmin,ymin,xmax,ymax\n'),
    'a table of masks': ('train.csv', 'ImageId,EncodedPixels\n1.jpg,1 3\n'),
    'a table of labels': ('labels.csv', 'id;breed\n1;boxer\n'),
    'XML of CVAT': ('annotations.xml', '<annotations><meta/></annotations>'),
    'TFRecord': ('cups.tfrecord', ''),
    'parquet': ('0000.parquet', ''),
}  # fmt: skip


@pytest.mark.parametrize('form', WRITTEN)
@pytest.mark.parametrize('place', ['', 'train'])
@pytest.mark.parametrize('task', ['boxes', 'folders'])
def test_a_foreign_export_is_called_by_its_name(form, place, task, own, tmp_path):
    name, content = WRITTEN[form]
    file = tmp_path / 'set' / place / name
    file.parent.mkdir(parents=True)
    text = content if isinstance(content, str) else json.dumps(content)
    file.write_text(text)
    with pytest.raises(BadInput) as error:
        own(tmp_path / 'set', task)
    assert form in str(error.value) and f'{file} is ' in str(error.value)
    if task == 'boxes' and name.endswith('.json'):
        with pytest.raises(BadInput, match=form):
            own(file)


@pytest.mark.parametrize(
    ('name', 'text'),
    [('a.json', '[1'), ('a.json', '[[]]'), ('a.json', '{}'), ('a.csv', ''),
     ('a.csv', 'time,value\n'), ('a.csv', 'a\0,b\n'), ('a.xml', '<xml>'),
     ('a.xml', '<p></p>'), ('a.xml', '<?xml version="1.0" encoding="no"?><p/>')],
)  # fmt: skip
def test_nothing_is_said_of_what_is_not_known(name, text, own, tmp_path):
    (tmp_path / 'set').mkdir()
    (tmp_path / 'set' / name).write_text(text)
    with pytest.raises(BadInput, match=rf'there is {name}; looked for'):
        own(tmp_path / 'set', 'folders')
