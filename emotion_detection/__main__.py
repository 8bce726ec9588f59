"`python -m emotion_detection` is the `emotion` command. Written by hand: nbdev has no place for a module of this name."
import sys

from emotion_detection.cli import main

if __name__ == '__main__':
    sys.exit(main())
