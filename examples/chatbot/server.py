"""Emotions for a chatbot over HTTP: `python server.py --model_path DIR`

POST /emotion  {"text": "..."} gives one answer, {"texts": ["...", "..."]} gives {"answers": [...]}
GET  /ready    200 while there is room for another request, 503 otherwise; says how many are at work
GET  /live     200 while the process is well, however busy it is
"""
import argparse, asyncio, json, socket, sys
from concurrent.futures import ThreadPoolExecutor
from aiohttp import web
from emotion_detection.cli import number, sensible_threads
from emotion_detection.files import InputError
from emotion_detection.predict import LONG, MODES, EmotionPredictor

MOST_TEXTS, MOST_BYTES = 1000, 1 << 20  # of one request


def texts_of(body):
    "The texts of a request and whether it was a single one; `ValueError` in words for the client."
    try: asked = json.loads(body)
    except (ValueError, RecursionError): raise ValueError('the body is not JSON') from None
    one = isinstance(asked, dict) and 'text' in asked
    texts = [asked['text']] if one else asked.get('texts') if isinstance(asked, dict) else None
    if not isinstance(texts, list) or not all(isinstance(t, str) and t.strip() for t in texts):
        raise ValueError('send {"text": "..."} or {"texts": ["...", "..."]}, and no empty text')
    if len(texts) > MOST_TEXTS:
        raise ValueError(f'{len(texts)} texts; send at most {MOST_TEXTS} at a time')
    return texts, one


class Service:
    "A predictor behind HTTP: as many requests at work as it has threads, some waiting, no more."
    def __init__(self, predictor, most_waiting):
        self.predictor, self.most, self.here = predictor, predictor.threads + most_waiting, 0
        # the model must not run on the thread that listens
        self.workers = ThreadPoolExecutor(predictor.threads)

    async def emotion(self, request):
        if self.here >= self.most:
            return web.json_response({'error': 'busy'}, status=503, headers={'Retry-After': '1'})
        self.here += 1
        try:
            texts, one = texts_of(await request.read())
            answers = await asyncio.get_running_loop().run_in_executor(
                self.workers, self.predictor, texts[0] if one else texts
            )
            return web.json_response(answers if one else {'answers': answers})
        except ValueError as e: return web.json_response({'error': str(e)}, status=400)
        finally: self.here -= 1

    async def ready(self, request):
        return web.json_response(
            {'at_work': self.here}, status=503 if self.here >= self.most else 200
        )

    async def live(self, request): return web.json_response({'ok': True})

    def app(self):
        app = web.Application(client_max_size=MOST_BYTES)
        app.add_routes([
            web.post('/emotion', self.emotion),
            web.get('/ready', self.ready),
            web.get('/live', self.live),
        ])
        return app


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--model_path', required=True, help='ONNX folder, such as outputs/int8_trimmed'
    )
    parser.add_argument('--host', default='127.0.0.1')
    parser.add_argument('--port', type=number(0, 65535), default=8080, help='0: any free one')
    parser.add_argument(
        '--reuse_port',
        action='store_true',
        help='several processes on one port; the kernel shares requests out',
    )
    parser.add_argument(
        '--threads', type=number(1), help='default: the processors this process may use'
    )
    parser.add_argument('--mode', choices=MODES, default=MODES[0])
    parser.add_argument('--long', choices=LONG, default=LONG[0])
    parser.add_argument(
        '--abstain_below',
        type=number(0, 1, float),
        help='no label for answers under this confidence',
    )
    parser.add_argument(
        '--most_waiting',
        type=number(0),
        default=64,
        help='requests that may wait for a thread; further ones get a 503',
    )
    parser.add_argument(
        '--grace',
        type=number(0, 3600, float),
        default=20.0,
        help='seconds for the requests at work when the process is told to end',
    )
    args = parser.parse_args()
    try:
        predictor = EmotionPredictor(
            args.model_path,
            True,
            sensible_threads(args.threads),
            args.mode,
            args.long,
            args.abstain_below,
        )
    except InputError as e:
        print(f'server: {e}', file=sys.stderr)
        return 2
    # opening asked the canary, on all threads at once; this opens what single threads use
    predictor(['ok', 'cảm ơn'])
    for licence in predictor.licences:
        print(f'server: training data licensed {licence}', file=sys.stderr)
    # only now: who can connect gets an answer
    try: listener = socket.create_server((args.host, args.port), reuse_port=args.reuse_port)
    except OSError as e:
        print(f'server: {args.host}:{args.port}: {e.strerror}', file=sys.stderr)
        return 2
    print(
        f'listening on http://{args.host}:{listener.getsockname()[1]}, {predictor.threads} '
        'threads',
        flush=True,
    )
    web.run_app(
        Service(predictor, args.most_waiting).app(),
        sock=listener,
        print=None,
        access_log=None,
        shutdown_timeout=args.grace,
    )
    return 0


if __name__ == '__main__': sys.exit(main())
