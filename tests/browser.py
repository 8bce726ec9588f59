"Headless Chromium for the tests of the site and of its live page."
import json, shutil, subprocess, time, urllib.request
from urllib.parse import urlsplit

CHROMIUM = next(
    filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None
)


class Browser:
    "Headless Chromium over its DevTools protocol; `troubles` are console errors, failed and outside requests."
    def __init__(self, profile):
        import websocket
        flags = (
            'headless no-sandbox disable-gpu disable-quic no-first-run '
            'disable-background-networking disable-component-update disable-sync'
        )
        flags = [
            f'--{f}'
            for f in (
                *flags.split(),
                f'user-data-dir={profile}',
                'remote-debugging-port=0',
                'remote-allow-origins=*',
            )
        ]
        self.process = subprocess.Popen(
            [CHROMIUM, *flags, 'about:blank'], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        self.troubles, self.loaded, self.last = [], False, 0
        port = self.wait(
            lambda: (f := profile / 'DevToolsActivePort').exists() and f.read_text().split()[:1]
        )[0]
        tabs = json.load(urllib.request.urlopen(f'http://127.0.0.1:{port}/json'))
        self.socket = websocket.create_connection(
            next(t['webSocketDebuggerUrl'] for t in tabs if t['type'] == 'page'), timeout=20
        )
        for domain in ('Page', 'Runtime', 'Network', 'Log'): self.call(f'{domain}.enable')
        # what a page's workers do is seen as well; each waits until it is watched
        self.call(
            'Target.setAutoAttach', autoAttach=True, waitForDebuggerOnStart=True, flatten=True
        )

    @staticmethod
    def wait(check, seconds=20):
        end = time.time() + seconds
        while not (found := check()):
            assert time.time() < end, 'the browser did not answer in time'
            time.sleep(.05)
        return found

    def receive(self):
        message = json.loads(self.socket.recv())
        what, about = message.get('method'), message.get('params', {})
        if what=='Target.attachedToTarget': self.watch(about['sessionId'])
        if what=='Page.loadEventFired': self.loaded = True
        if what=='Runtime.exceptionThrown': self.troubles.append(about['exceptionDetails']['text'])
        if what=='Runtime.consoleAPICalled' and about['type'] in ('error', 'assert'):
            self.troubles.append(str(about['args']))
        if what=='Log.entryAdded' and about['entry']['level']=='error':
            self.troubles.append(about['entry']['text'])
        if what=='Network.loadingFailed' and not about.get('canceled'):
            self.troubles.append(about['errorText'])
        if what=='Network.responseReceived' and about['response']['status']>=400:
            self.troubles.append(about['response']['url'])
        if what == 'Network.requestWillBeSent' and urlsplit(
            url := about['request']['url']
        ).hostname not in ('127.0.0.1', None):
            self.troubles.append(url)
        return message

    def watch(self, session):
        "See the troubles of a worker too, and let it begin."
        for method in ('Runtime.enable', 'Network.enable', 'Runtime.runIfWaitingForDebugger'):
            self.last += 1
            message = {'id': self.last, 'method': method, 'sessionId': session}
            self.socket.send(json.dumps(message))

    def call(self, method, **params):
        self.last += 1
        number = self.last
        self.socket.send(json.dumps({'id': number, 'method': method, 'params': params}))
        while (message := self.receive()).get('id')!=number: pass
        return message.get('result', {})

    def js(self, expression):
        return self.call('Runtime.evaluate', expression=expression, returnByValue=True)[
            'result'
        ].get('value')

    def wait_for(self, promise):
        "What a promise of the page comes to."
        done = self.call(
            'Runtime.evaluate', expression=promise, awaitPromise=True, returnByValue=True
        )
        assert 'exceptionDetails' not in done, done['exceptionDetails']
        return done['result'].get('value')

    def press(self, key, text='', modifiers=0, **more):
        "A key as a keyboard sends it; `text` is what it types."
        self.call(
            'Input.dispatchKeyEvent',
            type='keyDown',
            key=key,
            text=text,
            modifiers=modifiers,
            **more,
        )
        self.call('Input.dispatchKeyEvent', type='keyUp', key=key, modifiers=modifiers)

    def show(self, width=1280, scheme='light', motion='reduce'):
        "The size of the window and what a reader prefers, also of a page that is open."
        self.call(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.call(
            'Emulation.setEmulatedMedia',
            features=[
                {'name': 'prefers-color-scheme', 'value': scheme},
                {'name': 'prefers-reduced-motion', 'value': motion},
            ],
        )

    def open(self, url, width=1280, scheme='light', motion='reduce'):
        self.show(width, scheme, motion)
        self.troubles, self.loaded = [], False
        self.call('Page.navigate', url=url)
        while not self.loaded: self.receive()
        self.js('1')  # what came meanwhile
