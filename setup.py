"Packaging, read from settings.ini so that nbdev and pip cannot disagree."
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup, find_packages

here = Path(__file__).parent
ini = ConfigParser(delimiters=['='])
ini.read(here/'settings.ini', encoding='utf8')
cfg = ini['DEFAULT']

extras = {k.removesuffix('_requirements'): v.split() for k,v in cfg.items() if k.endswith('_requirements')}
extras['dev'] = extras['train'] + extras['serve'] + extras['ray'] + extras['dev']

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'],
    long_description=(here/'README.md').read_text(encoding='utf8'), long_description_content_type='text/markdown',
    author=cfg['author'], author_email=cfg['author_email'], url=cfg['git_url'], license='Apache-2.0',
    python_requires=f">={cfg['min_python']}", packages=find_packages(include=['emotion_detection*']),
    package_data={'emotion_detection': ['configs/*.yaml', 'samples/*.csv', 'samples/*.md', 'suite/*.yaml', 'model/*', 'model/onnx/*']},
    install_requires=cfg['requirements'].split(), extras_require=extras,
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': ['emotion_detection=emotion_detection._modidx:d']},
    classifiers=['Development Status :: 3 - Alpha', 'Intended Audience :: Developers', 'Natural Language :: English',
                 'Natural Language :: Vietnamese', 'Programming Language :: Python :: 3.11'],
    zip_safe=False)
