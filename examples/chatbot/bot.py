"""A bot that minds emotions: `emotion serve` in one terminal, `python bot.py` in another."""
import json
import sys
import urllib.request

WAYS = {
    'negative': 'say sorry, offer a person',
    'positive': 'say thanks, go on',
    'surprise': 'explain once more',
    'neutral': 'go on',
}


def emotion_of(text, address, seconds=5.):
    "The emotion of a message; `None` when the model is not sure, too late, too busy or not there."
    request = urllib.request.Request(f'{address}/emotion', json.dumps({'text': text}).encode())
    try:
        with urllib.request.urlopen(request, timeout=seconds) as reply:
            return json.load(reply)['label']
    except OSError:
        return None


def main():
    address = sys.argv[1] if len(sys.argv) > 1 else 'http://127.0.0.1:8080'
    for message in sys.stdin:
        emotion = emotion_of(message, address)
        print(f"{emotion or 'not sure'}: {WAYS.get(emotion, 'go on')}", flush=True)


if __name__ == '__main__':
    main()
