"""The `emotion` command in copies of a process that has done its imports.

PyTorch and `transformers` take most of the seconds of a start, and some tests start the command dozens of
times. A copy (`os.fork`) is killed, fills a disk and ends with an exit code like any other process. How the
command starts, and what its imports print, is seen where it is started by name: each subcommand is, somewhere.
"""
import gc, json, os, signal, subprocess, sys, tempfile
from pathlib import Path


class Copy:
    "A command that runs, with what a test needs of `subprocess.Popen`."
    def __init__(self, warm, words, folder, out, err):
        self.warm, self.returncode = warm, None
        streams = [os.devnull, str(out), str(err)]
        self.pid = warm.ask('start', [*map(str, words)], str(folder), streams)

    def kill(self): os.kill(self.pid, signal.SIGKILL)

    def poll(self): return self._ended('poll')

    def wait(self): return self._ended('wait')

    def _ended(self, how):
        if self.returncode is None: self.returncode = self.warm.ask(how, self.pid)
        return self.returncode


class Warm:
    "Starts commands. To be closed at the end, which ends the process that is copied."
    def __init__(self, env):
        pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'text': True}
        self.server = subprocess.Popen([sys.executable, '-u', __file__], env=env, **pipes)

    def ask(self, *request):
        self.server.stdin.write(json.dumps(request) + '\n')
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def start(self, *words, cwd='.'):
        "A command whose `stderr` can be read while it runs."
        with tempfile.TemporaryDirectory() as folder:
            pipe = Path(folder)/'stderr'
            os.mkfifo(pipe)
            copy = Copy(self, words, Path(cwd).resolve(), os.devnull, pipe)
            copy.stderr = pipe.open(encoding='utf8')  # when both sides have opened it
        return copy

    def run(self, *words, cwd='.'):
        "A command to its end: exit code, stdout, stderr."
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder)/'stdout', Path(folder)/'stderr'
            for file in (out, err): file.touch()
            code = Copy(self, words, Path(cwd).resolve(), out, err).wait()
            return subprocess.CompletedProcess(
                ['emotion', *words], code, out.read_text('utf8'), err.read_text('utf8')
            )

    def close(self):
        self.server.stdin.close()
        self.server.stdout.close()
        self.server.wait(10)


def become(words, folder, streams):
    "What a copy does: the command, with its own streams, in its own folder."
    from emotion_detection.cli import main
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_WRONLY if number else os.O_RDONLY), number)
    sys.stdin = open(0, encoding='utf8')
    sys.stdout = open(1, 'w', encoding='utf8')
    sys.stderr = open(2, 'w', buffering=1, encoding='utf8', errors='backslashreplace')
    os.chdir(folder)
    sys.argv = ['emotion', *words]
    sys.exit(main())


def serve():
    "Answer requests, a line of JSON each, until there are no more."
    import emotion_detection.pipeline
    gc.freeze()  # a copy that collects garbage need not copy the memory of all imports
    for line in sys.stdin:
        what, *about = json.loads(line)
        if what == 'start':
            pid = answer = os.fork()
            if pid == 0: become(*about)
        else:
            pid, status = os.waitpid(*about, os.WNOHANG if what == 'poll' else 0)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        print(json.dumps(answer))


if __name__ == '__main__': serve()
