"""A stand-in of the Hugging Face Hub on 127.0.0.1, for tests of what the real client libraries do with it.

    with Hub() as hub:
        commit = hub.add('owner/data', {'train.csv': b'text,label\n...'})          # kind='model' for an encoder
        hub.fault(r'train\\.csv', cut=True)                                          # or delay=3, status=500, times=1
        subprocess.run([...], env=os.environ | hub.env(tmp_path))
        hub.requests                                                                # what came: method, path, auth, range

It answers what `datasets`, `huggingface_hub` and `transformers` ask for: repository information, folder listings and files
with HEAD, ETag, X-Repo-Commit, Content-Length and ranges; refusals carry the `X-Error-Code` headers of the real Hub.
It takes uploads, too: new repositories and branches, large files through LFS (`basic`, one PUT each), commits that appear as a whole.
"""
import base64, hashlib, json, re, time, urllib.parse
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


Request = namedtuple('Request', 'method path auth range')


class Refused(Exception):
    def __init__(self, status, code=None, message='', headers=None, body=None):
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}
        self.body = body or {}


class Hub:
    "Repositories, who may read them, faults, and the requests that came."
    def __init__(self):
        self.repos = {}
        self.readers = {}
        self.faults = []
        self.requests = []
        self.server = None
        # token to the owners it may write for; sha256 to a large file
        self.writers, self.objects = {}, {}

    def __enter__(self):
        self.server = ThreadingHTTPServer(
            ('127.0.0.1', 0), type('Handler', (_Handler,), {'hub': self})
        )
        self.server.daemon_threads = True
        Thread(target=self.server.serve_forever, kwargs={'poll_interval': .05}, daemon=True).start()
        self.url = f'http://127.0.0.1:{self.server.server_port}'
        return self

    def __exit__(self, *_): self.stop()

    def stop(self):
        "Shut down: from now on the connection is refused."
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def env(self, home, **more):
        "Environment for a process that shall meet this Hub and nothing else, with caches of its own under `home`."
        return {
            'HF_ENDPOINT': self.url,
            'HF_HOME': str(home),
            'HF_HUB_OFFLINE': '0',
            'HF_HUB_ETAG_TIMEOUT': '10',
            'HF_HUB_DOWNLOAD_TIMEOUT': '10',
            'HF_HUB_DISABLE_TELEMETRY': '1',
            'HF_UPDATE_DOWNLOAD_COUNTS': '0',
            'HF_HUB_DISABLE_PROGRESS_BARS': '1',
            'HF_DATASETS_DISABLE_PROGRESS_BARS': '1',
            'HF_TOKEN': '',
            **more,
        }

    def add(self, name, files, kind='dataset', gated=False, private=False, branch='main'):
        "A repository, or a further commit of it; returns the commit. A gated one is read with a token in `readers`, a private one with a token of its owner."
        commit = hashlib.sha1(repr((name, sorted(files.items()))).encode()).hexdigest()
        repo = self.repos.setdefault((kind, name), {'commits': {}, 'branches': {}})
        repo['commits'][commit] = files
        repo['branches'][branch] = commit
        repo |= {'gated': gated, 'private': private}
        return commit

    def files(self, name, kind='model', branch='main'):
        "What a repository holds."
        repo = self.repos[kind, name]
        return repo['commits'][repo['branches'][branch]]

    def token(self, value, *names, writes=()):
        "A token that is valid, may read the gated repositories `names`, and write for the owners `writes`, of which the first is its own."
        self.readers[value], self.writers[value] = set(names), list(writes)

    def fault(self, pattern, method='', cut=False, delay=0, status=0, times=10**9):
        "What happens to requests whose path matches: the body ends half-way, the answer is late, or an error."
        self.faults.append({
            'pattern': pattern,
            'method': method,
            'cut': cut,
            'delay': delay,
            'status': status,
            'times': times,
        })

    def tokens_seen(self): return {r.auth.removeprefix('Bearer ') for r in self.requests if r.auth}
    def asked(self, pattern, method=''):
        return [r for r in self.requests if re.search(pattern, r.path) and method in r.method]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass
    def do_GET(self): self.answer()
    def do_HEAD(self): self.answer()
    def do_POST(self): self.answer()
    def do_PUT(self): self.answer()

    def answer(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        self.hub.requests.append(
            Request(
                self.command, path, self.headers.get('Authorization'), self.headers.get('Range')
            )
        )
        fault = next(
            (
                f
                for f in self.hub.faults
                if re.search(f['pattern'], path) and f['method'] in self.command and f['times'] > 0
            ),
            None,
        )
        if fault:
            fault['times'] -= 1
            time.sleep(fault['delay'])
        try:
            if fault and fault['status']:
                raise Refused(fault['status'], message='the stand-in was told to fail')
            if fault and fault['cut'] and self.command in ('PUT', 'POST'):
                self.close_connection = True
                return  # as if half of it had come
            if wrote := self.write(path, body): data, headers = wrote
            else: data, headers = self.route(path, query, urllib.parse.parse_qs(body.decode()))
        except Refused as e: return self.refuse(e)
        try: self.send(data, headers, cut=bool(fault and fault['cut']))
        except (BrokenPipeError, ConnectionResetError): self.close_connection = True

    def refuse(self, e):
        data = json.dumps({'error': e.message} | e.body).encode()
        self.send_response(e.status)
        if e.code: self.send_header('X-Error-Code', e.code)
        if e.message: self.send_header('X-Error-Message', e.message)
        for k, v in {
            **e.headers,
            'Content-Type': 'application/json',
            'Content-Length': len(data),
        }.items():
            self.send_header(k, v)
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
        for k,v in {**headers, 'Content-Length': len(data), 'Accept-Ranges': 'bytes'}.items():
            self.send_header(k, v)
        self.end_headers()
        if self.command == 'HEAD': return
        self.wfile.write(data[:len(data)//2] if cut else data)
        if cut:
            self.wfile.flush()
            self.close_connection = True

    def route(self, path, query, form):
        "The body and headers of an answer; `Refused` otherwise."
        if m := re.fullmatch(r'/api/(dataset|model)s/([^/]+/[^/]+)/auth-check', path):
            self.find(m[1], m[2], None)
            self.permit(m[1], m[2])
            return self.as_json({})
        if m := re.fullmatch(r'/api/models/([^/]+/[^/]+)/commits/(.+)', path):
            self.find('model', m[1], m[2])
            return self.as_json([
                {
                    'id': c,
                    'title': '',
                    'message': '',
                    'authors': [],
                    'date': '2024-01-01T00:00:00.000Z',
                }
                for c in reversed(self.hub.repos['model', m[1]]['commits'])
            ])
        if m := re.fullmatch(
            r'/api/(dataset|model)s/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?',
            path,
        ):
            kind, name, what, revision, folder = m.groups()
            commit, files = self.find(kind, name, revision)
            if what == 'tree':
                self.permit(kind, name)
                return self.as_json(
                    self.tree(files, folder or '', query.get('recursive', '').lower() == 'true')
                )
            if what == 'paths-info':
                self.permit(kind, name)
                return self.as_json([
                    e for e in self.tree(files, '', True) if e['path'] in form.get('paths', [])
                ])
            return self.as_json({
                'id': name,
                '_id': commit[:24],
                'sha': commit,
                'private': self.hub.repos[kind, name]['private'],
                'gated': 'manual' if self.hub.repos[kind, name]['gated'] else False,
                'disabled': False,
                'downloads': 0,
                'likes': 0,
                'tags': [],
                'lastModified': '2024-01-01T00:00:00.000Z',
                'createdAt': '2024-01-01T00:00:00.000Z',
                'siblings': [{'rfilename': f} for f in files],
            })
        if m := re.fullmatch(r'/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)', path):
            kind = 'dataset' if m[1] else 'model'
            commit, files = self.find(kind, m[2], m[3])
            # the card of a gated repository is public
            if m[4] != 'README.md': self.permit(kind, m[2])
            if m[4] not in files:
                raise Refused(404, 'EntryNotFound', 'Entry not found', {'X-Repo-Commit': commit})
            return files[m[4]], {
                'ETag': f'"{hashlib.sha1(files[m[4]]).hexdigest()}"',
                'X-Repo-Commit': commit,
                'Content-Type': 'application/octet-stream',
            }
        raise Refused(404, message='Sorry, we can\'t find the page you are looking for.')

    def write(self, path, body):
        "What an upload asks for; `None` for other requests."
        if m := re.fullmatch(r'/lfs/([0-9a-f]{64})', path):
            if self.command == 'PUT': self.hub.objects[hashlib.sha256(body).hexdigest()] = body
            if m[1] not in self.hub.objects:
                raise Refused(400, message='The file is not what was announced')
            return self.as_json({})
        if path == '/api/validate-yaml': return self.as_json({'errors': [], 'warnings': []})
        if path == '/api/repos/create':
            asked = json.loads(body)
            name = f"{asked.get('organization') or (self.hub.writers.get(self.bearer()) or ['nobody'])[0]}/{asked['name']}"
            self.permit_writing(name)
            there = ('model', name) in self.hub.repos
            if not there:
                self.hub.add(
                    name,
                    {'.gitattributes': b'*.onnx filter=lfs\n'},
                    'model',
                    private=asked.get('private', False),
                )
            url = f'{self.hub.url}/{name}'
            if there:
                raise Refused(409, message='You already created this model repo', body={'url': url})
            return self.as_json({'url': url, 'name': name, 'id': name})
        m = re.fullmatch(
            r'/api/models/([^/]+/[^/]+)/(preupload|commit|branch)/(.+)', path
        ) or re.fullmatch(r'/([^/]+/[^/]+?)\.git/info/(lfs)/(objects)/batch', path)
        if not m: return
        name, what, branch = m.groups()
        self.permit_writing(name)
        if what == 'lfs':
            return self.as_json({
                'transfer': 'basic',
                'objects': [self.lfs_object(o) for o in json.loads(body)['objects']],
            })
        _, files = self.find('model', name, 'main' if what == 'branch' else branch)
        if what == 'branch':
            branches = self.hub.repos['model', name]['branches']
            branches[branch] = json.loads(body).get('startingPoint') or branches['main']
            return self.as_json({})
        if what == 'preupload':
            return self.as_json({
                'files': [
                    {
                        'path': f['path'],
                        'uploadMode': 'lfs'
                        if f['path'].endswith(('.onnx', '.onnx_data', '.safetensors'))
                        else 'regular',
                        'shouldIgnore': False,
                    }
                    for f in json.loads(body)['files']
                ]
            })
        return self.commit(
            name, branch, dict(files), [json.loads(line) for line in body.splitlines()]
        )

    def lfs_object(self, o):
        href = f"{self.hub.url}/lfs/{o['oid']}"
        if o['oid'] in self.hub.objects: return o
        return o | {'actions': {'upload': {'href': href}, 'verify': {'href': href}}}

    def commit(self, name, branch, files, steps):
        for step in steps:
            v = step['value']
            if step['key'] == 'file': files[v['path']] = base64.b64decode(v['content'])
            if step['key'] == 'lfsFile':
                if v['oid'] not in self.hub.objects:
                    raise Refused(400, message='LFS pointer pointed to a file that does not exist')
                files[v['path']] = self.hub.objects[v['oid']]
            if step['key'] == 'deletedFile': del files[v['path']]
        repo = self.hub.repos['model', name]
        oid = self.hub.add(name, files, 'model', repo['gated'], repo['private'], branch)
        return self.as_json({
            'success': True,
            'commitOid': oid,
            'commitUrl': f'{self.hub.url}/{name}/commit/{oid}',
        })

    def permit_writing(self, name):
        token, owner = self.bearer(), name.split('/')[0]
        if not token: raise Refused(401, message='Invalid username or password.')
        if owner not in self.hub.writers.get(token, ()):
            raise Refused(
                403,
                message=f'You don\'t have the rights to create a model under the namespace "{owner}".',
            )

    def bearer(self):
        token = (self.headers.get('Authorization') or '').removeprefix('Bearer ')
        if token and token not in self.hub.readers:
            raise Refused(401, message='Invalid credentials in Authorization header')
        return token

    def find(self, kind, name, revision):
        repo, token = self.hub.repos.get((kind, name)), self.bearer()
        if repo is None or (
            repo['private'] and name.split('/')[0] not in self.hub.writers.get(token, ())
        ):
            raise Refused(
                404 if token else 401,
                'RepoNotFound',
                'Repository not found' if token else 'Invalid username or password.',
            )
        commit = repo['branches'].get(revision or 'main', revision)
        if commit not in repo['commits']:
            raise Refused(404, 'RevisionNotFound', f'Invalid rev id: {revision}')
        return commit, repo['commits'][commit]

    def permit(self, kind, name):
        token = self.bearer()
        if not self.hub.repos[kind, name]['gated'] or name in self.hub.readers.get(token, ()):
            return
        page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{name}"
        if token:
            raise Refused(
                403,
                'GatedRepo',
                f'Access to {kind} {name} is restricted and you are not in the authorized '
                f'list. Visit {page} to ask for access.',
            )
        raise Refused(
            401,
            'GatedRepo',
            f'Access to {kind} {name} is restricted. You must have access to it and be '
            'authenticated to access it. Please log in.',
        )

    def tree(self, files, folder, recursive):
        prefix = f'{folder}/' if folder else ''
        entries = {}
        for path,data in files.items():
            if not path.startswith(prefix): continue
            parts = path[len(prefix):].split('/')
            for i in range(1, len(parts) if recursive else min(len(parts), 2)):
                name = prefix + '/'.join(parts[:i])
                entries[name] = {
                    'type': 'directory',
                    'oid': hashlib.sha1(name.encode()).hexdigest(),
                    'size': 0,
                    'path': name,
                }
            if recursive or len(parts) == 1:
                entries[path] = {
                    'type': 'file',
                    'oid': hashlib.sha1(data).hexdigest(),
                    'size': len(data),
                    'path': path,
                }
        if not entries: raise Refused(404, 'EntryNotFound', f'{folder} does not exist')
        return list(entries.values())

    @staticmethod
    def as_json(obj): return json.dumps(obj).encode(), {'Content-Type': 'application/json'}
