"""A run of pytest keeps its groups together, and says what it left running and what it did not test: small runs of their own, with this project's conftest."""
import subprocess
import sys

import psutil
import pytest
from conftest import ENV, ROOT
from ending import MARK

LEAVES = """
import subprocess, sys
def test_that_leaves_a_server():
    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)  # a server'], start_new_session=True)
    {then}
"""


def run(tmp_path, code, *args):
    "Run one file of tests with a mark of its own."
    (tmp_path/'test_it.py').write_text(code)
    env = {k: v for k, v in ENV.items() if not k.startswith('PYTEST') and k != MARK} | {
        'PYTHONPATH': f"{ROOT}:{ROOT / 'tests'}"
    }
    command = [
        sys.executable, '-m', 'pytest', '-q', '-p', 'conftest', '-p', 'no:cacheprovider',
        *args, 'test_it.py',
    ]
    return subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize('workers', [[], ['-n', '1']], ids=['alone', 'xdist'])
@pytest.mark.parametrize('then', ['pass', 'assert False'])
def test_a_process_that_is_left_fails_the_run_and_is_stopped(tmp_path, then, workers):
    done = run(tmp_path, LEAVES.format(then=then), *workers)
    assert done.returncode == 1, done.stdout + done.stderr
    assert 'still running after the tests' in done.stdout
    assert '# a server' in done.stdout
    pid = int(done.stdout.split('now stopped: ')[1].split()[0])
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_run_that_leaves_nothing(tmp_path):
    done = run(tmp_path, 'def test_it(): pass')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'still running' not in done.stdout


def test_what_was_skipped_is_said_with_its_cure(tmp_path):
    "Counted by reason, in the last lines."
    code = """
import pytest
@pytest.mark.parametrize('n', range(3))
def test_site(n): pytest.skip('no Chromium on PATH (Debian: apt-get install chromium)')
"""
    lines = run(tmp_path, code).stdout.splitlines()
    assert 'not tested: 3 tests: no Chromium on PATH (Debian: apt-get install chromium)' in lines


def test_variables_that_are_not_set_are_said():
    "Each of them alone, and none when all are set."
    from ending import WANTED, unset_lines
    everything = dict.fromkeys(WANTED, 'a folder')
    assert unset_lines(everything) == []
    for name in WANTED:
        without = {key: value for key, value in everything.items() if key != name}
        [line] = unset_lines(without)
        assert line.endswith(f'{name} is not set')


GROUPED = """
import os
import pytest
pytestmark = pytest.mark.xdist_group('one')
@pytest.mark.parametrize('number', range(8))
def test_it(number):
    with open('workers', 'a') as file: print(os.environ['PYTEST_XDIST_WORKER'], file=file)
"""


def test_a_group_stays_on_one_worker(tmp_path):
    "pytest 9.2 and pytest-xdist 3.8 together deal its tests out one by one, and what a group shares is made by every worker."
    done = run(tmp_path, GROUPED, '-n', '2', '--dist', 'loadgroup')
    assert done.returncode == 0, done.stdout + done.stderr
    workers = (tmp_path/'workers').read_text().split()
    assert len(workers) == 8
    assert len(set(workers)) == 1
