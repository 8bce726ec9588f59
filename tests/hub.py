"""A stand-in of the Hugging Face Hub on 127.0.0.1, for tests of what the real client libraries do with it.

    with Hub() as hub:
        commit = hub.add('owner/data', {'train.csv': b'text,label\n...'})          # kind='model' for an encoder
        hub.fault(r'train\\.csv', cut=True)                                          # or delay=3, status=500, times=1
        subprocess.run([...], env=os.environ | hub.env(tmp_path))
        hub.requests                                                                # what came: method, path, auth, range

It answers what `datasets`, `huggingface_hub` and `transformers` ask for: repository information, folder listings and files
with HEAD, ETag, X-Repo-Commit, Content-Length and ranges; refusals carry the `X-Error-Code` headers of the real Hub.
"""
import hashlib, json, re, time, urllib.parse
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


Request = namedtuple('Request', 'method path auth range')


class Refused(Exception):
    def __init__(self, status, code=None, message='', headers=None): self.status, self.code, self.message, self.headers = status, code, message, headers or {}


class Hub:
    "Repositories, who may read them, faults, and the requests that came."
    def __init__(self):
        self.repos, self.readers, self.faults, self.requests, self.server = {}, {}, [], [], None

    def __enter__(self):
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), type('Handler', (_Handler,), {'hub': self}))
        self.server.daemon_threads = True
        Thread(target=self.server.serve_forever, kwargs={'poll_interval': .05}, daemon=True).start()
        self.url = f'http://127.0.0.1:{self.server.server_port}'
        return self

    def __exit__(self, *_): self.stop()

    def stop(self):
        "Shut down: from now on the connection is refused."
        if self.server: self.server.shutdown(); self.server.server_close(); self.server = None

    def env(self, home, **more):
        "Environment for a process that shall meet this Hub and nothing else, with caches of its own under `home`."
        return {'HF_ENDPOINT': self.url, 'HF_HOME': str(home), 'HF_HUB_OFFLINE': '0', 'HF_HUB_ETAG_TIMEOUT': '10', 'HF_HUB_DOWNLOAD_TIMEOUT': '10',
                'HF_HUB_DISABLE_TELEMETRY': '1', 'HF_UPDATE_DOWNLOAD_COUNTS': '0', 'HF_HUB_DISABLE_PROGRESS_BARS': '1', 'HF_DATASETS_DISABLE_PROGRESS_BARS': '1', 'HF_TOKEN': '', **more}

    def add(self, name, files, kind='dataset', gated=False):
        "A repository, or a further commit of it; returns the commit. A gated one is read with a token in `readers`."
        commit = hashlib.sha1(repr((name, sorted(files.items()))).encode()).hexdigest()
        repo = self.repos.setdefault((kind, name), {'commits': {}})
        repo['commits'][commit] = files
        repo |= {'main': commit, 'gated': gated}
        return commit

    def token(self, value, *names):
        "A token that is valid, and may read the gated repositories `names`."
        self.readers[value] = set(names)

    def fault(self, pattern, method='', cut=False, delay=0, status=0, times=10**9):
        "What happens to requests whose path matches: the body ends half-way, the answer is late, or an error."
        self.faults.append({'pattern': pattern, 'method': method, 'cut': cut, 'delay': delay, 'status': status, 'times': times})

    def tokens_seen(self): return {r.auth.removeprefix('Bearer ') for r in self.requests if r.auth}
    def asked(self, pattern, method=''): return [r for r in self.requests if re.search(pattern, r.path) and method in r.method]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass
    def do_GET(self): self.answer()
    def do_HEAD(self): self.answer()
    def do_POST(self): self.answer()

    def answer(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0)).decode()
        url = urllib.parse.urlsplit(self.path)
        path, query = urllib.parse.unquote(url.path), dict(urllib.parse.parse_qsl(url.query))
        self.hub.requests.append(Request(self.command, path, self.headers.get('Authorization'), self.headers.get('Range')))
        fault = next((f for f in self.hub.faults if re.search(f['pattern'], path) and f['method'] in self.command and f['times'] > 0), None)
        if fault: fault['times'] -= 1; time.sleep(fault['delay'])
        try:
            if fault and fault['status']: raise Refused(fault['status'], message='the stand-in was told to fail')
            data, headers = self.route(path, query, urllib.parse.parse_qs(body))
        except Refused as e: return self.refuse(e)
        try: self.send(data, headers, cut=bool(fault and fault['cut']))
        except (BrokenPipeError, ConnectionResetError): self.close_connection = True

    def refuse(self, e):
        data = json.dumps({'error': e.message}).encode()
        self.send_response(e.status)
        if e.code: self.send_header('X-Error-Code', e.code)
        if e.message: self.send_header('X-Error-Message', e.message)
        for k,v in {**e.headers, 'Content-Type': 'application/json', 'Content-Length': len(data)}.items(): self.send_header(k, v)
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(data)

    def send(self, data, headers, cut=False):
        start, status = 0, 200
        if (wanted := re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range', ''))):
            start, total, status = int(wanted[1]), len(data), 206
            stop = min(int(wanted[2] or total-1)+1, total)
            headers = {**headers, 'Content-Range': f'bytes {start}-{stop-1}/{total}'}
            data = data[start:stop]
        self.send_response(status)
        for k,v in {**headers, 'Content-Length': len(data), 'Accept-Ranges': 'bytes'}.items(): self.send_header(k, v)
        self.end_headers()
        if self.command == 'HEAD': return
        self.wfile.write(data[:len(data)//2] if cut else data)
        if cut: self.wfile.flush(); self.close_connection = True

    def route(self, path, query, form):
        "The body and headers of an answer; `Refused` otherwise."
        if m := re.fullmatch(r'/api/(dataset|model)s/([^/]+/[^/]+)/auth-check', path):
            self.find(m[1], m[2], None); self.permit(m[1], m[2])
            return self.as_json({})
        if m := re.fullmatch(r'/api/(dataset|model)s/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?', path):
            kind, name, what, revision, folder = m.groups()
            commit, files = self.find(kind, name, revision)
            if what == 'tree': self.permit(kind, name); return self.as_json(self.tree(files, folder or '', query.get('recursive', '').lower() == 'true'))
            if what == 'paths-info': self.permit(kind, name); return self.as_json([e for e in self.tree(files, '', True) if e['path'] in form.get('paths', [])])
            return self.as_json({'id': name, '_id': commit[:24], 'sha': commit, 'private': False, 'gated': 'manual' if self.hub.repos[kind, name]['gated'] else False, 'disabled': False,
                                 'downloads': 0, 'likes': 0, 'tags': [], 'lastModified': '2024-01-01T00:00:00.000Z', 'createdAt': '2024-01-01T00:00:00.000Z', 'siblings': [{'rfilename': f} for f in files]})
        if m := re.fullmatch(r'/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)', path):
            kind = 'dataset' if m[1] else 'model'
            commit, files = self.find(kind, m[2], m[3])
            if m[4] != 'README.md': self.permit(kind, m[2])  # the card of a gated repository is public
            if m[4] not in files: raise Refused(404, 'EntryNotFound', 'Entry not found', {'X-Repo-Commit': commit})
            return files[m[4]], {'ETag': f'"{hashlib.sha1(files[m[4]]).hexdigest()}"', 'X-Repo-Commit': commit, 'Content-Type': 'application/octet-stream'}
        raise Refused(404, message='Sorry, we can\'t find the page you are looking for.')

    def bearer(self):
        token = (self.headers.get('Authorization') or '').removeprefix('Bearer ')
        if token and token not in self.hub.readers: raise Refused(401, message='Invalid credentials in Authorization header')
        return token

    def find(self, kind, name, revision):
        repo, token = self.hub.repos.get((kind, name)), self.bearer()
        if repo is None: raise Refused(404 if token else 401, 'RepoNotFound', 'Repository not found' if token else 'Invalid username or password.')
        commit = repo['main'] if revision in (None, 'main') else revision
        if commit not in repo['commits']: raise Refused(404, 'RevisionNotFound', f'Invalid rev id: {revision}')
        return commit, repo['commits'][commit]

    def permit(self, kind, name):
        token = self.bearer()
        if not self.hub.repos[kind, name]['gated'] or name in self.hub.readers.get(token, ()): return
        page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{name}"
        if token: raise Refused(403, 'GatedRepo', f'Access to {kind} {name} is restricted and you are not in the authorized list. Visit {page} to ask for access.')
        raise Refused(401, 'GatedRepo', f'Access to {kind} {name} is restricted. You must have access to it and be authenticated to access it. Please log in.')

    def tree(self, files, folder, recursive):
        prefix = f'{folder}/' if folder else ''
        entries = {}
        for path,data in files.items():
            if not path.startswith(prefix): continue
            parts = path[len(prefix):].split('/')
            for i in range(1, len(parts) if recursive else min(len(parts), 2)):
                name = prefix + '/'.join(parts[:i])
                entries[name] = {'type': 'directory', 'oid': hashlib.sha1(name.encode()).hexdigest(), 'size': 0, 'path': name}
            if recursive or len(parts) == 1: entries[path] = {'type': 'file', 'oid': hashlib.sha1(data).hexdigest(), 'size': len(data), 'path': path}
        if not entries: raise Refused(404, 'EntryNotFound', f'{folder} does not exist')
        return list(entries.values())

    @staticmethod
    def as_json(obj): return json.dumps(obj).encode(), {'Content-Type': 'application/json'}
