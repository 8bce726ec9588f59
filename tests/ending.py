"How a test run ends: nothing of it goes on running, and what it did not test is said."
import time
from collections import Counter

import psutil

# set by conftest; whatever has it in its environment was started by the run
MARK = 'EMOTION_TEST_RUN'
WANTED = {  # variables that switch tests on, and what they bring
    'GOEMOTIONS_DIR': "checks on real comments (the folder of GoEmotions' train.tsv, dev.tsv and test.tsv)",
    'FOREIGN_DIR': 'evaluation on foreign ground (the files that examples/foreign.yaml names)',
    'ENCODER_DIR': (
        'training with a pretrained encoder (`python tools/make_encoder.py DIR` makes its folder)'
    ),
}


def environment(process):
    "Of a process; empty when it is gone or somebody else's."
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def command_line(process):
    try:
        return ' '.join(process.cmdline())
    except psutil.Error:
        return ''


def left_over(mark, patience=5.0):
    "Processes with this mark that are not this one, its parents or a worker of pytest, with their command lines; they get a moment to end."
    own = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    end = time.time() + patience
    while True:
        marked = [
            p
            for p in psutil.process_iter()
            if p.pid not in own and environment(p).get(MARK) == mark
        ]
        found = [(p, command_line(p)) for p in marked if p.status() != psutil.STATUS_ZOMBIE]
        found = [
            (p, line)
            for p, line in found
            if line and 'sys.stdin.readline' not in line and 'resource_tracker' not in line
        ]
        if not found or time.time() > end:
            return found
        time.sleep(0.1)


def stop(processes):
    "End them, by force where they do not listen."
    processes = list(processes)
    for process in processes:
        process.terminate()
    _, stubborn = psutil.wait_procs(processes, timeout=5)
    for process in stubborn:
        process.kill()


def skipped_lines(reports):
    "One line per reason, the most frequent first."
    reasons = Counter()
    for report in reports:
        place = report.longrepr
        reason = place[2] if isinstance(place, tuple) else str(place)
        reasons[reason.removeprefix('Skipped: ')] += 1
    return [
        f'not tested: {count} {"test" if count == 1 else "tests"}: {reason}'
        for reason, count in reasons.most_common()
    ]


def unset_lines(environ):
    "One line per variable without which tests are left out."
    return [
        f'not tested: {what}: {name} is not set'
        for name, what in WANTED.items()
        if not environ.get(name)
    ]
